import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { availableProcessors, checkThreads } from '../../lib/base/processors.js';
import { fails, inFolder } from '../data/data-fixtures.js';

/** How many processors a process may use on a system with these files below its root. */
async function processorsOf(files: Record<string, string>): Promise<number> {
  let found = 0;
  await inFolder(files, (root) => {
    found = availableProcessors(root);
    return Promise.resolve();
  });
  return found;
}

const status = (list: string) => `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${list}\nMems_allowed:\t1\n`;
const V2_MOUNT = '30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n';
const v1Mount = (within: string, at = '/sys/fs/cgroup/cpu,cpuacct') =>
  `22 1 8:1 / / rw - ext4 /dev/sda1 rw\n33 32 0:29 ${within} ${at} rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n`;

/** A system with 16 processors and the control groups of version 2. */
function v2(group: string, limits: Record<string, string>, list = '0-15', mount = V2_MOUNT): Record<string, string> {
  const files = Object.entries(limits).map(([path, limit]) => [join('sys/fs/cgroup', path, 'cpu.max'), `${limit}\n`]);
  return {
    'proc/self/status': status(list),
    'proc/self/cgroup': `0::${group}\n`,
    'proc/self/mountinfo': mount,
    ...Object.fromEntries(files),
  };
}

/** The same with version 1. */
function v1(group: string, within: string, limits: Record<string, [quota: number, period: number]>) {
  const files = Object.entries(limits).flatMap(([path, [quota, period]]) => [
    [join('sys/fs/cgroup/cpu,cpuacct', path, 'cpu.cfs_quota_us'), `${quota}\n`],
    [join('sys/fs/cgroup/cpu,cpuacct', path, 'cpu.cfs_period_us'), `${period}\n`],
  ]);
  return {
    'proc/self/status': status('0-15'),
    'proc/self/cgroup': `12:pids:/elsewhere\n4:cpu,cpuacct:${group}\n1:name=systemd:/other\n0::/\n`,
    'proc/self/mountinfo': v1Mount(within),
    ...Object.fromEntries(files),
  };
}

test('as many processors as the process may run on, where no quota is set', async () => {
  for (const [list, count] of [
    ['0', 1],
    ['3', 1],
    ['0-15', 16],
    ['0-3,8,10-11', 7],
    ['64-127', 64],
  ] as const) {
    assert.is(await processorsOf({ 'proc/self/status': status(list) }), count, list);
    assert.is(await processorsOf(v2('/', { '/': 'max 100000' }, list)), count, list);
  }
  assert.is(availableProcessors('/nowhere'), availableProcessors('/nowhere/else'), 'as Node counts them');
  assert.ok(availableProcessors() >= 1);
});

test('the quota of a container counts, rounded up: version 2', async () => {
  for (const [limit, count] of [
    ['200000 100000', 2],
    ['150000 100000', 2],
    ['100000 100000', 1],
    ['10000 100000', 1],
    ['25000 50000', 1],
    ['1600000 100000', 16],
    ['6400000 100000', 16],
    ['max 100000', 16],
  ] as const) {
    assert.is(await processorsOf(v2('/', { '/': limit })), count, limit);
  }
  assert.is(await processorsOf(v2('/', { '/': '400000 100000' }, '0-1')), 2, 'affinity is less');
});

test('of nested groups the least counts', async () => {
  const nested = {
    'a.slice': '300000 100000',
    'a.slice/b.service': 'max 100000',
    'a.slice/b.service/c': '900000 100000',
  };
  assert.is(await processorsOf(v2('/a.slice/b.service/c', nested)), 3);
  assert.is(await processorsOf(v2('/a.slice/b.service', { ...nested, other: '100000 100000' })), 3);
  assert.is(await processorsOf(v2('/other/below', nested)), 16);
  const old = v1('/a/b', '/', { a: [700_000, 100_000], 'a/b': [-1, 100_000] });
  assert.is(await processorsOf(old), 7);
});

test('the quota of a container counts: version 1', async () => {
  assert.is(await processorsOf(v1('/', '/', { '/': [-1, 100_000] })), 16);
  assert.is(await processorsOf(v1('/', '/', { '/': [250_000, 100_000] })), 3);
  assert.is(await processorsOf(v1('/job', '/', { job: [50_000, 100_000] })), 1);
  // A container sees its own group as the topmost, and itself under the path that the host has for it.
  assert.is(await processorsOf(v1('/docker/0123', '/docker/0123', { '/': [200_000, 100_000] })), 2);
  assert.is(
    await processorsOf(v1('/docker/0123/in', '/docker/0123', { '/': [900_000, 100_000], in: [200_000, 100_000] })),
    2,
  );
  assert.is(await processorsOf(v1('/docker/0123', '/docker/4567', { '/': [200_000, 100_000] })), 2);
});

test('both versions side by side, and groups that are mounted elsewhere', async () => {
  const mixed = {
    ...v1('/', '/', { '/': [500_000, 100_000] }),
    'proc/self/mountinfo': `${v1Mount('/')}${V2_MOUNT.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')}`,
  };
  assert.is(await processorsOf(mixed), 5);
  const elsewhere = {
    ...v2('/a b', {}, '0-15', '30 25 0:26 / /mnt/the\\040groups rw - cgroup2 none rw\n'),
    'mnt/the groups/a b/cpu.max': '300000 100000\n',
  };
  assert.is(await processorsOf(elsewhere), 3);
});

test('threads far beyond the processors are refused with their number', async () => {
  const processors = availableProcessors();
  const most = Math.max(8, 4 * processors);
  for (const threads of [1, processors, most]) checkThreads(threads);
  for (const threads of [0, -1, 1.5, most + 1, 1_000_000, Number.NaN]) {
    await fails(
      () => checkThreads(threads),
      'BAD_OPTION',
      new RegExp(`^threads must be a whole number from 1 to ${most}, not .*${processors} processor`),
    );
  }
});

test.run();
