import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs, { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { recoverFolder, replaceFolder } from '../../lib/base/folder.js';
import { lockFolder } from '../../lib/base/lock.js';
import { formatOwner, isAlive, type Owner, parseOwner, thisProcess } from '../../lib/base/owner.js';
import { fails, inFolder } from '../data/data-fixtures.js';

/** A writer of two files and a folder, all of which say `version`. */
function writer(version: string) {
  return async (folder: string) => {
    await writeFile(join(folder, 'a'), version);
    await mkdir(join(folder, 'deep'));
    await writeFile(join(folder, 'deep', 'b'), version);
  };
}

/** What version a folder is; fails unless it is one version and whole. */
async function versionOf(folder: string): Promise<string> {
  const version = await readFile(join(folder, 'a'), 'utf8');
  assert.equal((await readdir(folder)).sort(), ['a', 'deep']);
  assert.is(await readFile(join(folder, 'deep', 'b'), 'utf8'), version);
  return version;
}

/** What might be put back as the folder must be whole, even if it never will be. */
async function requireWholeAsides(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (name.includes('~old~')) await versionOf(join(folder, name));
}

async function deadOwner(): Promise<Owner> {
  const self = await thisProcess();
  return { ...self, started: self.started - 1 };
}

type Mutator = 'mkdir' | 'rename' | 'rm';

/** Calls `before` ahead of every change that is made to the file system while `action` runs. */
async function watched(
  before: (name: Mutator, path: string) => Promise<void>,
  action: () => Promise<void>,
): Promise<void> {
  const original = { mkdir: fs.mkdir, rename: fs.rename, rm: fs.rm };
  for (const name of Object.keys(original) as Mutator[]) {
    const call = original[name] as (...args: unknown[]) => Promise<unknown>;
    Object.assign(fs, {
      [name]: async (...args: unknown[]) => {
        await before(name, String(args[0]));
        return call(...args);
      },
    });
  }
  syncBuiltinESMExports();
  try {
    await action();
  } finally {
    Object.assign(fs, original);
    syncBuiltinESMExports();
  }
}

/**
 * Runs `action` as a process that is killed ahead of its `step`-th change to the file system, or in the middle of that
 * change if it deletes a tree. True if it got that far.
 */
async function killedAt(step: number, folder: string, action: () => Promise<void>): Promise<boolean> {
  const { rm } = fs;
  let steps = 0;
  const before = async (name: Mutator, path: string) => {
    steps++;
    if (steps < step) return;
    if (steps === step && name === 'rm') await rm(join(path, 'a'), { force: true });
    throw new Error('killed');
  };
  await watched(before, action).catch((error: Error) => assert.is(error.message, 'killed'));
  // The process is gone: what it left belongs to a dead one.
  const dead = formatOwner(await deadOwner());
  const live = formatOwner(await thisProcess());
  for (const name of await readdir(folder)) {
    if (name.includes(live)) await rename(join(folder, name), join(folder, name.replace(live, dead)));
  }
  return steps >= step;
}

test('creates a folder, and its parents', () =>
  inFolder({}, async (folder) => {
    await replaceFolder(join(folder, 'x', 'y'), writer('1'));
    assert.is(await versionOf(join(folder, 'x', 'y')), '1');
    assert.equal(await readdir(join(folder, 'x')), ['y']);
  }));

test('replaces a folder and leaves nothing of the old one', () =>
  inFolder({ 'x/a': '1', 'x/stale': '' }, async (folder) => {
    await replaceFolder(`${join(folder, 'x')}/`, writer('2'));
    assert.is(await versionOf(join(folder, 'x')), '2');
    assert.equal(await readdir(folder), ['x']);
  }));

test('replaces the folder that a link leads to', () =>
  inFolder({ 'real/a': '1' }, async (folder) => {
    await symlink('real', join(folder, 'link'));
    await replaceFolder(join(folder, 'link'), writer('2'));
    assert.is(await versionOf(join(folder, 'real')), '2');
    assert.is(await versionOf(join(folder, 'link')), '2');
    assert.equal((await readdir(folder)).sort(), ['link', 'real']);
  }));

test('killed at any moment, it leaves the old folder or the new one, and no litter past the next writer', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    const seen = { old: 0, new: 0, gone: 0 };
    await replaceFolder(target, writer('0'));
    for (let step = 1, before = '0'; ; step++) {
      const killed = await killedAt(step, folder, () => replaceFolder(target, writer(`${step}`)));
      if (!(await readdir(folder)).includes('x')) seen.gone++;
      await recoverFolder(target);
      const after = await versionOf(target);
      assert.ok(after === before || after === `${step}`, `step ${step}: ${before} became ${after}`);
      await requireWholeAsides(folder);
      seen[after === before ? 'old' : 'new']++;
      if (!killed) break;

      await replaceFolder(target, writer(`${step} repaired`));
      before = await versionOf(target);
      assert.is(before, `${step} repaired`);
      assert.equal(await readdir(folder), ['x'], `step ${step} left litter`);
    }
    // The kills did fall before, between and after the two renames.
    assert.ok(seen.old >= 4 && seen.new >= 3 && seen.gone >= 1, JSON.stringify(seen));
  }));

test('killed at any moment while it creates a folder, it leaves none or the new one', () =>
  inFolder({}, async (folder) => {
    let steps = 0;
    for (let killed = true; killed; ) {
      const target = join(folder, `x${++steps}`);
      killed = await killedAt(steps, folder, () => replaceFolder(target, writer('1')));
      await recoverFolder(target);
      if ((await readdir(folder)).includes(basename(target))) assert.is(await versionOf(target), '1');
      else assert.ok(killed);
      await replaceFolder(target, writer('2'));
      assert.not((await readdir(folder)).some((name) => name.startsWith(`.${basename(target)}~`)));
    }
    assert.ok(steps > 3);
  }));

test('killed while it repairs what a killed one left, it still loses nothing', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await replaceFolder(target, writer('0'));
    for (let first = 1, more = true; more; first++) {
      for (let second = 1, again = true; again; second++) {
        more = await killedAt(first, folder, () => replaceFolder(target, writer('1')));
        again = await killedAt(second, folder, () => replaceFolder(target, writer('2')));
        await recoverFolder(target);
        await requireWholeAsides(folder);
        assert.ok(/^[012]$/.test(await versionOf(target)), `killed at ${first}, then at ${second}`);
      }
    }
  }));

test('a reader that recovers the old folder in mid-swap does not hold up the writer', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await replaceFolder(target, writer('1'));
    let recovered = 0;
    const before = async (name: Mutator, path: string) => {
      if (name !== 'rename' || !path.includes('~new~') || recovered > 0) return;
      recovered++;
      await recoverFolder(target);
      assert.is(await versionOf(target), '1');
    };
    await watched(before, () => replaceFolder(target, writer('2')));
    assert.is(recovered, 1);
    assert.is(await versionOf(target), '2');
    assert.equal(await readdir(folder), ['x']);
  }));

test('writers that forgot to lock leave one whole folder', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await Promise.all(['1', '2', '3', '4'].map((version) => replaceFolder(target, writer(version))));
    assert.ok(['1', '2', '3', '4'].includes(await versionOf(target)));
    assert.equal(await readdir(folder), ['x']);
  }));

test('a writer that fails leaves the old folder and no litter', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await replaceFolder(target, writer('1'));
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const fillDisk = async (temporary: string) => {
      await writer('2')(temporary);
      throw full;
    };
    await fails(() => replaceFolder(target, fillDisk), 'FILE_IO', /x' failed with ENOSPC. The disk is full/);
    const own = new TypeError('own');
    const thrown = await replaceFolder(target, () => Promise.reject(own)).catch((error: unknown) => error);
    assert.is(thrown, own);
    assert.is(await versionOf(target), '1');
    assert.equal(await readdir(folder), ['x']);
  }));

test('a swap that the system refuses puts the old folder back', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await replaceFolder(target, writer('1'));
    const refuse = (name: Mutator, path: string) =>
      name === 'rename' && path.includes('~new~')
        ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
        : Promise.resolve();
    await fails(() => watched(refuse, () => replaceFolder(target, writer('2'))), 'FILE_IO', /failed with EIO/);
    assert.is(await versionOf(target), '1');
    assert.equal(await readdir(folder), ['x']);
  }));

test('a file is not replaced by a folder', () =>
  inFolder({ x: 'precious' }, async (folder) => {
    await fails(() => replaceFolder(join(folder, 'x'), writer('1')), 'FILE_IO', /x' is a file/);
    await fails(() => replaceFolder(join(folder, 'x', 'y'), writer('1')), 'FILE_IO', /x' is a file/);
    assert.equal(await readdir(folder), ['x']);
  }));

test('what belongs to others is left alone', () =>
  inFolder({}, async (folder) => {
    const dead = await deadOwner();
    const others = [
      `.y~new~${formatOwner(dead)}~00000000`,
      `.x~new~${formatOwner({ ...dead, host: 'ffffffff' })}~00000000`,
      `.x~new~${formatOwner(await thisProcess())}~00000000`,
      '.x~new~someone~00000000',
      '.x~lock',
    ];
    for (const name of others) await mkdir(join(folder, name));
    await mkdir(join(folder, `.x~trash~${formatOwner(dead)}~00000000`));
    await replaceFolder(join(folder, 'x'), writer('1'));
    assert.equal((await readdir(folder)).sort(), [...others, 'x'].sort());
  }));

test('recovering a folder that is there or never was does nothing', () =>
  inFolder({ 'x/a': '1' }, async (folder) => {
    await recoverFolder(join(folder, 'x'));
    await recoverFolder(join(folder, 'none'));
    await recoverFolder(join(folder, 'none', 'at', 'all'));
    assert.equal(await readdir(folder), ['x']);
  }));

test('a folder is locked for one at a time', () =>
  inFolder({ 'x/a': '1' }, async (folder) => {
    const target = join(folder, 'x');
    const lock = await lockFolder(target);
    await symlink('x', join(folder, 'link'));
    await fails(() => lockFolder(target), 'FOLDER_IN_USE', /x' is in use by this process/);
    await fails(() => lockFolder(join(folder, 'link')), 'FOLDER_IN_USE', /link' is in use by this process/);
    {
      await using other = await lockFolder(join(folder, 'y', 'z'));
      assert.ok(other);
    }
    await replaceFolder(target, writer('2'));
    await fails(() => lockFolder(target), 'FOLDER_IN_USE', /delete '.*\.x~lock'/);
    await lock[Symbol.asyncDispose]();
    const next = await lockFolder(target);
    await lock[Symbol.asyncDispose]();
    await fails(() => lockFolder(target), 'FOLDER_IN_USE', /in use/);
    await next[Symbol.asyncDispose]();
    assert.equal((await readdir(folder)).sort(), ['link', 'x', 'y']);
  }));

test('of many that find a dead lock, one takes it over', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    const dead = formatOwner(await deadOwner());
    for (const locks of [['.x~lock'], ['.x~lock', '.x~lock~'], ['.x~lock~'], ['.x~lock', '.x~lock~', '.x~lock~~']]) {
      for (const name of locks) await symlink(dead, join(folder, name));
      const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(target)));
      const taken = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      assert.is(taken.length, 1, locks.join());
      for (const result of results) if (result.status === 'rejected') assert.is(result.reason.code, 'FOLDER_IN_USE');
      await taken[0]![Symbol.asyncDispose]();
      const left = (await readdir(folder)).filter((name) => !locks.includes(name) || name === '.x~lock');
      assert.equal(left, [], locks.join());
      await fs.rm(join(folder, '.x~lock~'), { force: true });
    }
  }));

test('a slow process does not remove the lock that a fast one has taken over meanwhile', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await symlink(formatOwner(await deadOwner()), join(folder, '.x~lock'));
    const { readlink } = fs;
    let fast: AsyncDisposable | undefined;
    const slowReadlink = async (path: string) => {
      const holder = await readlink(path);
      fs.readlink = readlink;
      syncBuiltinESMExports();
      fast = await lockFolder(target);
      return holder;
    };
    Object.assign(fs, { readlink: slowReadlink });
    syncBuiltinESMExports();
    await fails(() => lockFolder(target), 'FOLDER_IN_USE', /in use by this process/);
    assert.equal(await readdir(folder), ['.x~lock']);
    await fast![Symbol.asyncDispose]();
    assert.equal(await readdir(folder), []);
  }));

test('a lock of another machine, or of no known form, is respected', () =>
  inFolder({}, async (folder) => {
    const elsewhere = formatOwner({ ...(await deadOwner()), host: 'ffffffff' });
    await symlink(elsewhere, join(folder, '.x~lock'));
    await symlink('someone', join(folder, '.y~lock'));
    await writeFile(join(folder, '.z~lock'), '');
    await fails(() => lockFolder(join(folder, 'x')), 'FOLDER_IN_USE', /in use by process \d+/);
    await fails(() => lockFolder(join(folder, 'y')), 'FOLDER_IN_USE', /in use by process someone/);
    await fails(() => lockFolder(join(folder, 'z')), 'FILE_IO', /EINVAL/);
  }));

test('a process is told from those before it and elsewhere', async () => {
  const self = await thisProcess();
  assert.equal(parseOwner(formatOwner(self)), self);
  assert.is(parseOwner('x'), null);
  assert.is(await isAlive(self), true);
  assert.is(await isAlive({ ...self, started: self.started + 1 }), false, 'its id was given to another');
  assert.is(await isAlive({ ...self, pid: 2 ** 22 + 1 }), false, 'beyond the largest process id');
  assert.is(await isAlive({ ...self, boot: '00000000' }), false, 'before the machine was restarted');
  assert.is(await isAlive({ ...self, host: '00000000', boot: '00000000' }), true, 'elsewhere: unknown');
});

test('a process that is really killed loses its lock and its litter, but not the folder', () =>
  inFolder({}, async (folder) => {
    const target = join(folder, 'x');
    await replaceFolder(target, writer('1'));
    const library = new URL('../../lib/base/', import.meta.url).href;
    const script = `
      import { writeFile } from 'node:fs/promises';
      import { replaceFolder } from '${library}folder.ts';
      import { lockFolder } from '${library}lock.ts';
      await lockFolder(${JSON.stringify(target)});
      await replaceFolder(${JSON.stringify(target)}, async (temporary) => {
        await writeFile(temporary + '/a', '2');
        console.log('writing');
        await new Promise((resolve) => setTimeout(resolve, 60_000));
      });`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: dirname(new URL(import.meta.url).pathname),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    try {
      await Promise.race([once(child.stdout, 'data'), exited]);
      await fails(() => lockFolder(target), 'FOLDER_IN_USE', new RegExp(`in use by process ${child.pid}`));
      assert.is((await readdir(folder)).length, 3, 'the folder, a lock and a temporary folder');
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
    await using lock = await lockFolder(target);
    assert.ok(lock);
    assert.is(await versionOf(target), '1');
    await replaceFolder(target, writer('3'));
    assert.is(await versionOf(target), '3');
    assert.equal((await readdir(folder)).sort(), ['.x~lock', 'x']);
  }));

test.run();
