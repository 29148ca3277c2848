/** Programs that many ranks start, each compiled once and in one file: compiling takes longer than most of them run. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));
const ENTRIES = { 'rank-main': 'test/distributed/rank-main.ts', cli: 'lib/cli/main.ts' };
const made = new Map<string, string>();

/** The path of one, two folders below the root as sources are: binaries are found from there. */
export function bundled(name: keyof typeof ENTRIES): string {
  const path = made.get(name) ?? build(name);
  made.set(name, path);
  return path;
}

function build(name: keyof typeof ENTRIES): string {
  const path = join(root, 'build/ranks', `${name}.mjs`);
  const { outputFiles } = buildSync({
    entryPoints: [join(root, ENTRIES[name])],
    ...{ bundle: true, packages: 'external', format: 'esm', platform: 'node', target: 'node20' },
    ...{ sourcemap: 'inline', write: false, logLevel: 'error' },
  });
  mkdirSync(dirname(path), { recursive: true });
  // Whole at any time: tests of another process may be starting it.
  writeFileSync(`${path}.${process.pid}`, outputFiles[0]!.contents);
  renameSync(`${path}.${process.pid}`, path);
  return path;
}
