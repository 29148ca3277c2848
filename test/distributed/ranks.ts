/** Several processes that compute together, started as users start them. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findBinary, findMpi } from '../../lib/tensor/binary.js';
import { bundled } from './bundle.js';

/** Why mpirun cannot start ranks here; undefined where it can. */
export function noMpi(): string | undefined {
  if (spawnSync('mpirun', ['--version']).status !== 0) return 'there is no mpirun';
  try {
    findMpi();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Why there is no emulated GPU; undefined where there is one. */
export function noEmulation(): string | undefined {
  try {
    findBinary('cuda-emulated');
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What a program of programs.ts returned, or threw. */
export interface Report {
  value?: unknown;
  error?: { code: string; message: string };
}

export interface Outcome {
  /** Of mpirun, or the highest of the processes. */
  status: number | null;
  /** What each rank reported, where it did. */
  reports: (Report | undefined)[];
  stderr: string;
  milliseconds: number;
}

export interface RunOptions {
  device?: string;
  env?: Record<string, string>;
  /** Of single ranks, beside that of all. */
  envOf?: (rank: number) => Record<string, string>;
  /** How many of the ranks are started. */
  started?: number;
}

type Start = (node: string[], size: number, options: RunOptions) => Promise<{ status: number | null; stderr: string }>;

/** Left to itself, Open MPI binds each rank to one core. */
const MPIRUN = ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-n'];

const withMpirun: Start = (node, size, { env = {} }) => run('mpirun', [...MPIRUN, `${size}`, ...node], env);

/** As torchrun does, and Kubernetes. */
const byThemselves: Start = async ([command = '', ...args], size, { env = {}, envOf, started = size }) => {
  const ended = await Promise.all(
    Array.from({ length: started }, (_, rank) =>
      run(command, args, { RANK: `${rank}`, WORLD_SIZE: `${size}`, ...env, ...envOf?.(rank) }),
    ),
  );
  return {
    status: Math.max(...ended.map(({ status }) => status ?? 128)),
    stderr: ended.map(({ stderr }) => stderr).join(''),
  };
};

function run(command: string, args: string[], env: Record<string, string>) {
  return new Promise<{ status: number | null; stderr: string }>((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', reject).on('close', (status) => resolve({ status, stderr }));
  });
}

/** Runs a program on each of `size` ranks, which mpirun starts. */
export const runRanks = (program: string, size: number, options: RunOptions = {}) =>
  runWith(withMpirun, program, size, options);

/** The same of processes that are told their ranks, and have no channel but what MASTER_ADDR and MASTER_PORT name. */
export const runProcesses = (program: string, size: number, options: RunOptions = {}) =>
  runWith(byThemselves, program, size, options);

async function runWith(start: Start, program: string, size: number, options: RunOptions): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'bts-ranks-'));
  const begin = performance.now();
  try {
    const node = [process.execPath, bundled('rank-main'), program, options.device ?? 'cpu', folder];
    const { status, stderr } = await start(node, size, options);
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
export function valuesOf<Value>({ status, reports, stderr }: Outcome): Value[] {
  const values = reports.map((report) => report?.value);
  if (status === 0 && values.every((value) => value !== undefined)) return values as Value[];
  throw new Error(`ranks ended with ${status}: ${JSON.stringify(reports)}\n${stderr}`);
}
