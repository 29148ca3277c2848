import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { z } from 'zod';
import { type Abortable, BtsError, throwIfAborted } from '../../base/errors.js';
import { checkOptions, expectOptions, type OptionNames } from '../../base/options-check.js';
import { availableProcessors } from '../../base/processors.js';
import { flag, text } from '../../base/schema.js';
import { type Interpreter, ISOLATIONS, type Isolation, none } from './isolation.js';
import { LIMITS, type Limits, runnerArguments } from './runner.js';

export const sandboxOptions = {
  /** Runs programs with limits alone where the system has no isolation. */
  allowUnsafe: flag().default(false).meta({
    description: 'Run generated programs without isolation where the system has none',
  }),
  /** Python's file; default: the first python3 on the path that runs. */
  python: text('a file').optional().meta({ description: 'Python to run generated programs with', argument: 'file' }),
};

export interface SandboxOptions extends z.input<z.ZodObject<typeof sandboxOptions>>, Abortable {
  /** What a program may use. */
  limits?: Partial<Limits>;
  /** @internal Ways of isolation to try; default: all that there are. */
  isolations?: readonly Isolation[];
}

/** What became of a program. */
export interface Run {
  /** It ran to its end, and nothing failed. */
  passed: boolean;
  /** 'passed', 'failed: AssertionError', 'out of time', 'too much output', 'ended early'. */
  verdict: string;
}

const LIMIT_NAMES: OptionNames<Limits> = {
  milliseconds: true,
  memoryBytes: true,
  processes: true,
  fileBytes: true,
  outputBytes: true,
};

/** The user nobody: what root starts is not root. */
const NOBODY = 65534;

/**
 * Runs Python programs that a model wrote: each in a process of its own without network, files but the system's libraries,
 * environment or privileges, with limits on time, memory, processes, files and output, in a scratch folder, and killed with
 * all it started.
 */
export class Sandbox {
  private readonly waiting: (() => void)[] = [];
  private free = availableProcessors();

  private constructor(
    private readonly python: Interpreter,
    private readonly isolation: Isolation,
    private readonly limits: Limits,
  ) {}

  /**
   * Finds an interpreter and a way to isolate it, and tries them.
   * Throws NO_SANDBOX where there is none, unless `allowUnsafe`; BAD_OPTION, ABORTED.
   */
  static async open(options: SandboxOptions = {}): Promise<Sandbox> {
    const others = { limits: true, isolations: true, signal: true } as const;
    const { allowUnsafe, python, signal } = checkOptions('Sandbox.open', sandboxOptions, options, others);
    expectOptions('Sandbox.open: limits', options.limits ?? {}, LIMIT_NAMES);
    const limits = { ...LIMITS, ...options.limits };
    for (const [name, value] of Object.entries(limits)) {
      // Timers wrap around beyond 31 bits, and fire at once.
      const most = name === 'milliseconds' ? 2 ** 31 - 1 : Number.MAX_SAFE_INTEGER;
      if (value > 0 && value <= most) continue;
      throw new BtsError('BAD_OPTION', `Sandbox.open: ${name} must be a positive number up to ${most}, not ${value}.`);
    }
    throwIfAborted(signal, 'looking for a sandbox');
    const interpreters = await findInterpreters(python);
    const isolations = options.isolations ?? ISOLATIONS;
    for (const isolation of allowUnsafe ? [...isolations, none] : isolations) {
      for (const interpreter of interpreters) {
        const trial = new Sandbox(interpreter, isolation, LIMITS);
        if ((await trial.run('assert sum([1, 2]) == 3', signal)).passed)
          return new Sandbox(interpreter, isolation, limits);
      }
    }
    throw new BtsError(
      'NO_SANDBOX',
      interpreters.length === 0
        ? 'no Python 3 was found to run generated programs with: install python3.'
        : 'this system offers no way to run generated programs apart from everything else: neither bubblewrap (bwrap) nor ' +
            'user namespaces (unshare) work. Install bubblewrap, run on another machine, or take the risk with ' +
            '--allow-unsafe-code.',
    );
  }

  /** 'bubblewrap', 'namespaces' or 'none'. */
  get isolationName(): string {
    return this.isolation.name;
  }

  /**
   * Runs a program to its end. It has passed if it comes there without an exception. Throws ABORTED.
   *
   * @param program Python, as text
   * @param signal ends it
   */
  async run(program: string, signal?: AbortSignal): Promise<Run> {
    if (this.free === 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.free--;
    try {
      throwIfAborted(signal, 'running programs');
      return await this.execute(program, signal);
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }

  private async execute(program: string, signal: AbortSignal | undefined): Promise<Run> {
    const needsFolder = this.isolation === none;
    const folder = needsFolder ? await mkdtemp(join(tmpdir(), 'bts-run-')) : '/';
    try {
      return await this.supervise(program, folder, signal);
    } finally {
      if (needsFolder) await rm(folder, { recursive: true, force: true });
    }
  }

  private supervise(program: string, folder: string, signal: AbortSignal | undefined): Promise<Run> {
    const secret = randomBytes(16).toString('hex');
    const [file, ...args] = this.isolation.command(this.python, runnerArguments(this.limits));
    return new Promise((resolve, reject) => {
      const child = spawn(file, args, {
        cwd: folder,
        env: { PATH: '/usr/bin:/usr/sbin:/bin:/sbin', LC_ALL: 'C.UTF-8' },
        // A group of its own, to be killed as a whole.
        detached: true,
        stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
        ...(isRoot && this.isolation !== none ? { uid: NOBODY, gid: NOBODY } : {}),
      });
      let verdict = '';
      let output = 0;
      let stopped: string | undefined;
      const stop = (reason: string) => {
        stopped ??= reason;
        killGroup(child.pid);
      };
      const timer = setTimeout(() => stop('out of time'), this.limits.milliseconds);
      const abort = () => stop('aborted');
      signal?.addEventListener('abort', abort);
      const count = (chunk: Buffer) => {
        output += chunk.length;
        if (output > this.limits.outputBytes) stop('too much output');
      };
      const [stdin, stdout, stderr, report] = child.stdio;
      stdout!.on('data', count);
      stderr!.on('data', count);
      report!.on('data', (chunk: Buffer) => {
        if (verdict.length < 1024) verdict += chunk.toString('utf8');
        // What the program started may go on and hold the streams open.
        if (verdict.startsWith(secret)) killGroup(child.pid);
      });
      const finish = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        killGroup(child.pid);
      };
      child.on('error', () => {
        finish();
        resolve({ passed: false, verdict: 'could not be started' });
      });
      child.on('close', () => {
        finish();
        if (stopped === 'aborted')
          reject(new BtsError('ABORTED', 'running programs was stopped.', { cause: signal?.reason }));
        else resolve(judge(stopped, verdict, secret));
      });
      // A program that ends before it is read leaves a broken pipe.
      stdin!.on('error', () => {});
      stdin!.end(`${secret}\n${program}`);
    });
  }
}

const isRoot = process.getuid?.() === 0;

function judge(stopped: string | undefined, verdict: string, secret: string): Run {
  if (stopped) return { passed: false, verdict: stopped };
  if (!verdict.startsWith(secret)) return { passed: false, verdict: 'ended early' };
  const told = verdict.slice(secret.length);
  return { passed: told === 'passed', verdict: told };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}

/** Interpreters that run, those of the path first. */
async function findInterpreters(python: string | undefined): Promise<Interpreter[]> {
  const onPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder || '.', 'python3'));
  const candidates = python ? [python] : [...new Set([...onPath, '/usr/bin/python3', '/usr/local/bin/python3'])];
  const found: Interpreter[] = [];
  for (const candidate of candidates) {
    try {
      const source = 'import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)';
      const { stdout } = await promisify(execFile)(candidate, ['-I', '-c', source], { timeout: 10_000 });
      const [path = '', prefix = ''] = stdout.trim().split('\n');
      if (!found.some((other) => other.path === path)) found.push({ path, prefix });
    } catch {
      // No interpreter, or one that does not run.
    }
  }
  return found;
}
