import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSanitized } from '../../sanitizers/build.js';
import type { Target } from '../target.js';
import { TARGETS } from '../targets.js';
import { folder } from './build.js';
import { bundle } from './bundle.js';

/** The first that is reached ends it. */
export interface Effort {
  seconds?: number;
  runs?: number;
}

export interface Outcome {
  runs: number;
  seconds: number;
  /** The file with an input that breaks the promise, or the process's end where there is none. */
  input: string | undefined;
  /** The end of what the process said. */
  output: string;
}

/** An input that computes for longer does not end; a tokenizer's expressions are given 5 s, several times over. */
const INPUT_SECONDS = 30;
const MOST_MIB = 3000;

const PROCESS = fileURLToPath(new URL('process.cjs', import.meta.url));

/** What inputs are kept in: those of the repository, and those of runs before. */
export const keptFolder = (name: string) => fileURLToPath(new URL(`../corpus/${name}`, import.meta.url));

/** Fuzzes one target. The addon is fuzzed with AddressSanitizer and UndefinedBehaviorSanitizer. */
export async function fuzz(name: string, engine: string, { seconds, runs }: Effort): Promise<Outcome> {
  const target = await TARGETS[name]!();
  const file = join(folder, `${name}.cjs`);
  const edges = await bundle(fileURLToPath(new URL(`../targets/${name}.ts`, import.meta.url)), file);
  const corpus = await writeCorpus(name, target);
  const args = [
    `-artifact_prefix=${join(folder, `${name}-`)}`,
    `-rss_limit_mb=${MOST_MIB}`,
    ...['-max_len=4096', '-len_control=20', '-print_final_stats=1', '-print_funcs=0'],
    ...(target.words ? [`-dict=${await writeWords(name, target.words)}`] : []),
    ...(seconds === undefined ? [] : [`-max_total_time=${seconds}`]),
    ...(runs === undefined ? [] : [`-runs=${runs}`]),
    ...corpus,
  ];
  const settings = JSON.stringify({ engine, bundle: file, edges, seconds: INPUT_SECONDS, args });
  const environment = name === 'native' ? await withEngine(engine) : {};
  return await ended(['--enable-source-maps', '--max-old-space-size=1500', PROCESS, settings], environment);
}

/** What libFuzzer sees of the instrumented addon goes through its own functions, and not through the sanitizer's empty ones. */
async function withEngine(engine: string): Promise<Record<string, string>> {
  const { LD_PRELOAD, ASAN_OPTIONS, ...others } = await buildSanitized('address');
  return { ...others, LD_PRELOAD: `${engine} ${LD_PRELOAD}`, ASAN_OPTIONS: `${ASAN_OPTIONS}:verify_asan_link_order=0` };
}

async function writeCorpus(name: string, target: Target): Promise<string[]> {
  const grown = join(folder, 'corpus', name);
  await mkdir(grown, { recursive: true });
  for (const seed of target.seeds()) {
    await writeFile(join(grown, createHash('sha1').update(seed).digest('hex')), seed);
  }
  const kept = keptFolder(name);
  return (await readdir(kept).catch(() => [])).length > 0 ? [grown, kept] : [grown];
}

async function writeWords(name: string, words: readonly string[]): Promise<string> {
  const path = join(folder, `${name}.dict`);
  const escaped = (word: string) => [...Buffer.from(word)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`);
  await writeFile(path, words.map((word) => `"${escaped(word).join('')}"\n`).join(''));
  return path;
}

function ended(args: string[], environment: Record<string, string>): Promise<Outcome> {
  const began = performance.now();
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-20_000);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (status, signal) => {
      const runs = Number(/number_of_executed_units: (\d+)/.exec(output)?.[1] ?? 0);
      const written = /Test unit written to (.*)/.exec(output)?.[1];
      const input = status === 0 ? undefined : (written ?? `no input: the process ended with ${signal ?? status}`);
      resolve({ runs, seconds: Math.round((performance.now() - began) / 1000), input, output });
    });
  });
}
