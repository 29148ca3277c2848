import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { BtsError } from '../../lib/base/errors.js';
import { createProgram } from '../../lib/cli/program.js';
import { Device } from '../../lib/tensor/device.js';
import { CONFIGS, writeModel } from './models.js';

const MAIN = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  process: ChildProcess;
  /** All that came so far. */
  stdout: () => string;
  stderr: () => string;
  ended: Promise<Ended>;
}

export interface CliOptions {
  cwd?: string;
  /** What comes on stdin; default nothing. */
  input?: string;
  /** A shell command to run instead, in which "$@" is the program with its arguments. */
  shell?: string;
}

/** Starts `bts` with these arguments in a process of its own. */
export function startCli(args: readonly string[], options: CliOptions = {}): Running {
  return startNode([MAIN, ...args], options);
}

/** Starts a TypeScript program in a process of its own. */
export const startNode = (args: readonly string[], options: CliOptions = {}): Running =>
  start([process.execPath, '--import', TSX, ...args], options);

/** Starts a command. The user's cache lies in the working directory, if one is given. */
export function start(command: readonly string[], { cwd, input = '', shell }: CliOptions = {}): Running {
  const [file, ...rest] = shell ? ['bash', '-c', shell, 'bash', ...command] : command;
  const cache = cwd === undefined ? join(tmpdir(), 'bts-test-cache') : join(cwd, 'cache');
  const env = { ...process.env, XDG_CACHE_HOME: cache, NO_COLOR: '1' };
  const child = spawn(file!, rest, { env, ...(cwd !== undefined && { cwd }) });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  child.stdin.on('error', () => {}).end(input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { process: child, stdout: () => stdout, stderr: () => stderr, ended };
}

export function runCli(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  return startCli(args, options).ended;
}

export interface Called {
  stdout: string;
  stderr: string;
  /** What the command ended with; undefined where it ran to its end. */
  error: BtsError | undefined;
  exitCode: number;
}

/** Runs a command in this process. Nothing is printed. */
export async function callCli(...args: string[]): Promise<Called> {
  const written = { stdout: '', stderr: '' };
  const originals = { stdout: process.stdout.write, stderr: process.stderr.write };
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].write = (chunk: unknown) => {
      written[name] += chunk;
      return true;
    };
  }
  let error: unknown;
  try {
    await createProgram(new AbortController().signal).parseAsync(args, { from: 'user' });
  } catch (thrown) {
    error = thrown;
  } finally {
    for (const name of ['stdout', 'stderr'] as const) process[name].write = originals[name];
  }
  const exitCode = Number(process.exitCode ?? 0);
  process.exitCode = 0;
  return { ...written, error: error as BtsError | undefined, exitCode };
}

/** Waits until `condition` holds; fails after a while. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries === 1000) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Writes models `hub`, `code` and `math`, and text for two domains, into a folder. */
export async function writeProject(folder: string): Promise<void> {
  using device = Device.open('cpu', { threads: 1 });
  const config = { ...CONFIGS.llama, maxPositions: 32 };
  for (const [seed, name] of ['hub', 'code', 'math'].entries()) {
    await writeModel(device, join(folder, name), { config, seed: seed + 1 });
  }
  const lines = (line: (i: number) => string) => Array.from({ length: 400 }, (_, i) => line(i)).join('\n');
  await writeFile(
    join(folder, 'code.txt'),
    lines((i) => `let x${i} = f(${(i * 7919) % 1000});`),
  );
  await writeFile(
    join(folder, 'math.txt'),
    lines((i) => `${i} + ${(i * 31) % 97} = ${i + ((i * 31) % 97)}.`),
  );
}

/** All paths below a folder, but for the cache of texts. */
export async function listFiles(folder: string): Promise<string[]> {
  const paths = await readdir(folder, { recursive: true });
  return paths.filter((path) => !path.startsWith('cache')).sort();
}
