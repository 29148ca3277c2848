import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Row } from './bench.js';

export const TORCH_DTYPE = { f32: 'float32', bf16: 'bfloat16' } as const;

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** What one of these benchmarks measures in a process of its own. */
export const runBench = (args: readonly string[]): Promise<Row> =>
  lastLine<Row>(process.execPath, [...process.execArgv, here('main.ts'), ...args]);

/** What a Python script of this folder measures. */
export const peerRow = <R = Row>(
  python: string,
  [script, ...args]: readonly [string, ...string[]],
  environment: Record<string, string> = {},
): Promise<R> => lastLine<R>(python, [here(script), ...args], environment);

/** What a program prints last, as JSON. */
async function lastLine<R>(program: string, args: string[], environment: Record<string, string> = {}): Promise<R> {
  const env = { ...process.env, ...environment };
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 1 << 26, env });
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as R;
}
