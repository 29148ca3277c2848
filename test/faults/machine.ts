/** Clocks that jump, and file descriptors that are used up. */
import { spawnSync } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { lockFolder } from '../../lib/base/lock.js';
import { line, Skipped } from '../support/lines.js';
import { buildChild, CHILD } from './kills.js';
import { ownFaults } from './shim.js';
import { inFolder, root, saves } from './walk.js';

const YEARS = 365 * 24 * 3600;

for (const save of saves)
  line(`${save.name}: a clock that jumps`, () =>
    inFolder(async (folder) => {
      await save.prepare(folder);
      const faults = ownFaults();
      const lock = await lockFolder(folder);
      let isOver = false;
      const jumping = (async () => {
        for (let i = 0; !isOver; i++) {
          faults.skew = [0, 30 * YEARS, -30 * YEARS, 3, -3][i % 5]!;
          await setTimeout(1);
        }
        faults.skew = 0;
      })();
      try {
        await save.save(folder);
      } finally {
        isOver = true;
        await jumping;
        await lock[Symbol.asyncDispose]();
      }
      if (!save.isQuiet) assert.is(await save.found(folder), 'new');
      await save.save(folder);
    }, save.parent),
  );

/** More than any of these needs. */
const MANY = 80;

for (const save of saves.filter(({ isQuiet }) => !isQuiet))
  line(`${save.name}: few file descriptors`, async () => {
    await buildChild();
    const starts = (files: number) => limited(files, ['-e', '0']).status === 0;
    let least = 10;
    while (!starts(least)) if (++least > MANY) throw new Skipped('prlimit is not there, or Node.js needs many files');
    let told = 0;
    for (let files = least; files <= MANY; files++) {
      const isThrough = await inFolder(async (folder) => {
        await save.prepare(folder);
        const { status, signal, stderr } = limited(files, [CHILD, root, save.name, folder]);
        assert.is(signal, null, `${files} files: ${stderr}`);
        if (status !== 0) {
          told++;
          assert.match(stderr, /EMFILE|Too many open files/i, `${files} files: ${status} ${stderr}`);
        }
        const found = await save.found(folder);
        if (status === 0) assert.is(found, 'new');
        await save.save(folder);
        return status === 0;
      }, save.parent);
      if (isThrough) return `goes through with ${files}, told ${told} times`;
    }
    throw new Error(`it fails with ${MANY}`);
  });

function limited(files: number, args: string[]) {
  const command = [`--nofile=${files}:${files}`, process.execPath, ...args];
  return spawnSync('prlimit', command, { encoding: 'utf8', env: { ...process.env, LD_PRELOAD: '' } });
}
