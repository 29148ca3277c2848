import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { BtsError } from './errors.js';

/** More threads than processors wait for each other, and are of use to tests alone. */
const MOST_PER_PROCESSOR = 4;
const MOST_ALWAYS = 8;

/** @throws BAD_OPTION if it is not a whole number, or far more than there are processors */
export function checkThreads(threads: number): void {
  const processors = availableProcessors();
  const most = Math.max(MOST_ALWAYS, MOST_PER_PROCESSOR * processors);
  if (Number.isInteger(threads) && threads >= 1 && threads <= most) return;
  const there = processors === 1 ? 'is 1 processor' : `are ${processors} processors`;
  throw new BtsError(
    'BAD_OPTION',
    `threads must be a whole number from 1 to ${most}, not ${threads}: there ${there} to use, and threads beyond their number wait for each other.`,
  );
}

/**
 * How many threads can run at a time: one for each processor that the process may run on (its affinity, which cpusets
 * restrict), or as many as the CPU time amounts to that a container, or any control group that it lies in, is granted. One and
 * a half processors' time is worth two threads.
 *
 * @param root where the system's files are
 */
export function availableProcessors(root = '/'): number {
  const quota = Math.min(...controlGroups(root).map(quotaOf));
  return Math.max(1, Math.min(allowedProcessors(root), Math.ceil(quota)));
}

/** Read by ourselves on Linux, as later versions of Node take quotas into account, and round them down. */
function allowedProcessors(root: string): number {
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(read(join(root, 'proc/self/status')))?.[1];
  if (!list) return availableParallelism();
  let count = 0;
  for (const range of list.split(',')) {
    const [first, last = first] = range.split('-').map(Number) as [number, number?];
    count += last - first + 1;
  }
  return count;
}

/** The folders of the control groups that may limit this process: its own and all above, in either version. */
function controlGroups(root: string): string[] {
  const own = read(join(root, 'proc/self/cgroup')).split('\n');
  const folders: string[] = [];
  for (const { type, options, within, at } of mounts(root)) {
    if (type !== 'cgroup2' && !(type === 'cgroup' && options.includes('cpu'))) continue;
    const isMine = (controllers: string) =>
      type === 'cgroup2' ? controllers === '' : controllers.split(',').includes('cpu');
    const path = own.map((line) => /^\d+:([^:]*):(.*)$/.exec(line)).find((match) => match && isMine(match[1]!))?.[2];
    if (path === undefined) continue;
    // A container often sees its own group alone, mounted as if it were the topmost, under a path of the host's.
    const isBelow = within === '/' || path === within || path.startsWith(`${within}/`);
    const names = (isBelow ? path.slice(within === '/' ? 0 : within.length) : '').split('/').filter(Boolean);
    for (let depth = names.length; depth >= 0; depth--) folders.push(join(root, at, ...names.slice(0, depth)));
  }
  return folders;
}

interface Mount {
  type: string;
  options: string[];
  /** What part of the file system is mounted. */
  within: string;
  at: string;
}

function mounts(root: string): Mount[] {
  const unescaped = (path: string) =>
    path.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
  return read(join(root, 'proc/self/mountinfo'))
    .split('\n')
    .flatMap((line) => {
      const [, within, at, type, options] = /^\d+ \d+ \S+ (\S+) (\S+) .* - (\S+) \S+ (\S+)$/.exec(line) ?? [];
      if (!within) return [];
      return [{ type: type!, options: options!.split(','), within: unescaped(within), at: unescaped(at!) }];
    });
}

/** How many processors' time a control group is granted. */
function quotaOf(folder: string): number {
  const [quota, period] = read(join(folder, 'cpu.max')).split(/\s/).map(Number);
  if (quota! > 0 && period! > 0) return quota! / period!;
  const oldQuota = Number(read(join(folder, 'cpu.cfs_quota_us')));
  const oldPeriod = Number(read(join(folder, 'cpu.cfs_period_us')));
  return oldQuota > 0 && oldPeriod > 0 ? oldQuota / oldPeriod : Number.POSITIVE_INFINITY;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
