import type { Target } from './target.js';

const load = (name: string) => () => import(`./targets/${name}.js`).then(({ target }): Target => target);

/** All that is fuzzed, by the names of their files. The addon is loaded where its target is. */
export const TARGETS: Record<string, () => Promise<Target>> = Object.fromEntries(
  [
    'safetensors',
    'shards',
    'config',
    'adapter',
    'manifest',
    'tokenizer',
    'template',
    'parquet',
    'request',
    'native',
  ].map((name) => [name, load(name)]),
);
