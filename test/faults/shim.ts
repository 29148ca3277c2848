import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../../native/packaging/root.js';
import { Skipped } from '../support/lines.js';

const SOURCE = fileURLToPath(new URL('shim.c', import.meta.url));
const FOLDER = join(root, 'build', 'faults');

/** The kinds of calls that can go wrong, as in shim.c. NAME is whatever changes names: rename, link, mkdir, unlink, .. */
export const KINDS = { OPEN: 1, WRITE: 2, SYNC: 4, NAME: 8, READ: 16, MAP: 32, CLOSE: 64, MEMORY: 128, THREAD: 256 };
export const CHANGES = KINDS.OPEN | KINDS.WRITE | KINDS.SYNC | KINDS.NAME;
export const ALL_FILES = CHANGES | KINDS.READ | KINDS.CLOSE;

/** What a call does in place of what it should: it moves half of the bytes, the process dies before it or amid it, it waits. */
const EFFECTS = { SHORT: -1, KILL: -2, TORN: -3, PAUSE: -4 };
export type Effect = keyof typeof EFFECTS | keyof typeof constants.errno;

export interface Fault {
  /** The folder whose files count. */
  folder?: string;
  kinds: number;
  /** The n-th call goes wrong, from 1 on; 0: none, they are counted. */
  at?: number;
  effect?: Effect;
  /** All calls from the n-th on go wrong. */
  lasting?: boolean;
  /** Allocations below so many bytes do not count. */
  leastBytes?: number;
  /** Where all calls are written down. */
  log?: string;
}

const FIELDS = ['kinds', 'at', 'effect', 'lasting', 'seen', 'hits', 'skew', 'leastBytes'] as const;
const TEXT_BYTES = 2048;

/** The page that a process reads its faults from while it runs. */
export class Faults {
  private readonly file: number;

  constructor(readonly page: string) {
    if (!existsSync(page)) writeFileSync(page, Buffer.alloc(8 * FIELDS.length + 2 * TEXT_BYTES));
    this.file = openSync(page, 'r+');
  }

  arm({ folder = '', kinds, at = 0, effect = 'EIO', lasting = false, leastBytes = 0, log = '' }: Fault): void {
    this.disarm();
    const texts = Buffer.alloc(2 * TEXT_BYTES);
    texts.write(folder);
    texts.write(log, TEXT_BYTES);
    writeSync(this.file, texts, 0, texts.length, 8 * FIELDS.length);
    this.set('seen', 0);
    this.set('hits', 0);
    this.set('at', at);
    this.set('effect', effect in EFFECTS ? EFFECTS[effect as keyof typeof EFFECTS] : constants.errno[effect as 'EIO']);
    this.set('lasting', Number(lasting));
    this.set('leastBytes', leastBytes);
    this.set('kinds', kinds); // last: from here on calls count
  }

  /** Lets all go right again, also what waits; returns how many calls went wrong. */
  disarm(): number {
    this.set('kinds', 0);
    this.set('effect', 0);
    return this.get('hits');
  }

  /** Sets the clock of the day so many seconds ahead. */
  set skew(seconds: number) {
    this.set('skew', seconds);
  }

  get seen(): number {
    return this.get('seen');
  }

  get hits(): number {
    return this.get('hits');
  }

  close(): void {
    closeSync(this.file);
  }

  /** What a process needs to read this page. */
  get environment(): Record<string, string> {
    return { LD_PRELOAD: library(), BTS_FAULTS: this.page };
  }

  private get(field: (typeof FIELDS)[number]): number {
    const bytes = Buffer.alloc(8);
    readSync(this.file, bytes, 0, 8, 8 * FIELDS.indexOf(field));
    return Number(bytes.readBigInt64LE());
  }

  private set(field: (typeof FIELDS)[number], value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    writeSync(this.file, bytes, 0, 8, 8 * FIELDS.indexOf(field));
  }
}

/** The shim, compiled if that was not done. Throws Skipped where there is no compiler. */
export function library(): string {
  if (process.platform !== 'linux') throw new Skipped('the shim is for Linux');
  const path = join(FOLDER, 'shim.so');
  if (existsSync(path) && statSync(path).mtimeMs > statSync(SOURCE).mtimeMs) return path;
  mkdirSync(FOLDER, { recursive: true });
  try {
    execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-o', path, SOURCE, '-ldl']);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new Skipped('gcc is not there');
    throw error;
  }
  return path;
}

/** The faults of this process, which main.ts started with the shim. */
export function ownFaults(): Faults {
  const { BTS_FAULTS } = process.env;
  if (!BTS_FAULTS) throw new Error("this process has no shim: use 'npm run test:faults'");
  return new Faults(BTS_FAULTS);
}
