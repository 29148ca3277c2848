import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { BtsError } from './errors.js';

/** A running process, named so that no other process before or after it has the same name. */
export interface Owner {
  /** Distinguish machines, and a machine before and after a restart. */
  host: string;
  boot: string;
  pid: number;
  /** In clock ticks since the boot: tells a process from a later one that was given the same id. */
  started: number;
}

/** This process. */
export async function thisProcess(): Promise<Owner> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const started = await startTime(process.pid);
  // One that does not know itself would be taken for dead.
  if (started === null)
    throw new BtsError('FILE_IO', `'/proc/${process.pid}/stat' cannot be read, by which processes are told apart.`);
  return { host: digest(hostname()), boot: digest(boot), pid: process.pid, started };
}

/** Whether the process still runs. True where that cannot be known: it may run on another machine. */
export async function isAlive(owner: Owner): Promise<boolean> {
  const self = await thisProcess();
  if (owner.host !== self.host) return true;
  if (owner.boot !== self.boot) return false;
  if (!exists(owner.pid)) return false;
  const started = await startTime(owner.pid);
  return started === null || started === owner.started;
}

/** `host.boot.pid.started`: fit to be part of a file name. */
export function formatOwner({ host, boot, pid, started }: Owner): string {
  return `${host}.${boot}.${pid}.${started}`;
}

/** The inverse of `formatOwner`; null for anything else. */
export function parseOwner(text: string): Owner | null {
  const match = /^([0-9a-f]{8})\.([0-9a-f]{8})\.([0-9]{1,10})\.([0-9]{1,15})$/.exec(text);
  return match && { host: match[1]!, boot: match[2]!, pid: Number(match[3]), started: Number(match[4]) };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it exists, but is another user's.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Null if it cannot be read, NaN (no one's start time) for a process that has ended and only waits to be reaped. */
async function startTime(pid: number): Promise<number | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The second field, the command, may hold spaces and brackets; the third follows the last bracket.
    const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? Number.NaN : Number(rest[18]);
  } catch {
    return null;
  }
}
