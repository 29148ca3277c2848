/** Several processes that compute together, started as users start them: by mpirun. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findMpi } from '../../lib/tensor/binary.js';

/** Why nothing can be started here; undefined where it can. */
export function noMpi(): string | undefined {
  if (spawnSync('mpirun', ['--version']).status !== 0) return 'there is no mpirun';
  try {
    findMpi();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

export interface Outcome {
  /** Of mpirun. */
  status: number | null;
  /** What each rank reported, where it did. */
  reports: (Report | undefined)[];
  stderr: string;
  milliseconds: number;
}

/** What a program of programs/ returned, or threw. */
export interface Report {
  value?: unknown;
  error?: { code: string; message: string };
}

export interface RunOptions {
  device?: string;
  env?: Record<string, string>;
}

/** Runs a program of programs.ts on each of `size` ranks. */
export async function runRanks(program: string, size: number, options: RunOptions = {}): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'bts-ranks-'));
  const main = fileURLToPath(new URL('rank-main.ts', import.meta.url));
  const node = [process.execPath, '--import', 'tsx', main, program, options.device ?? 'cpu', folder];
  const begin = performance.now();
  try {
    // Left to itself, Open MPI binds each rank to one core.
    const child = spawn(
      'mpirun',
      ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-n', `${size}`, ...node],
      {
        env: { ...process.env, ...options.env },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    const status = await new Promise<number | null>((resolve, reject) =>
      child.on('close', resolve).on('error', reject),
    );
    const files = await readdir(folder);
    const reports = await Promise.all(
      Array.from({ length: size }, async (_, rank) =>
        files.includes(`${rank}.json`) ? JSON.parse(await readFile(join(folder, `${rank}.json`), 'utf8')) : undefined,
      ),
    );
    return { status, reports, stderr, milliseconds: performance.now() - begin };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What every rank returned; throws where one did not. */
export async function valuesOf<Value>(program: string, size: number, options: RunOptions = {}): Promise<Value[]> {
  const { status, reports, stderr } = await runRanks(program, size, options);
  const values = reports.map((report) => report?.value);
  if (status === 0 && values.every((value) => value !== undefined)) return values as Value[];
  throw new Error(`${program} on ${size} ranks ended with ${status}: ${JSON.stringify(reports)}\n${stderr}`);
}
