/** Clocks that jump, and file descriptors that are used up. */
import { spawnSync } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { lockFolder } from '../../lib/base/lock.js';
import { line, Skipped } from '../support/lines.js';
import { buildChild, CHILD } from './kills.js';
import type { Save } from './saves.js';
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
const MANY = 40;

for (const save of saves.filter(({ isQuiet }) => !isQuiet))
  line(`${save.name}: few file descriptors`, async () => {
    await buildChild();
    let told = 0;
    for (let more = 0; more <= MANY; more++) {
      const isThrough = await inFolder(async (folder) => {
        await save.prepare(folder);
        const { status, signal, stderr } = withDescriptors(more, save, folder);
        assert.is(signal, null, `${more} descriptors: ${stderr}`);
        if (stderr.includes('prlimit ENOENT')) throw new Skipped('prlimit is not there');
        if (status !== 0) {
          told++;
          assert.match(
            stderr,
            /BtsError: .*EMFILE\. Too many files are open: raise the limit/,
            `${more} descriptors: ${stderr}`,
          );
        }
        const found = await save.found(folder);
        if (status === 0) assert.is(found, 'new');
        await save.save(folder);
        return status === 0;
      }, save.parent);
      if (isThrough) return `goes through with ${more}, told ${told} times`;
    }
    throw new Error(`it fails with ${MANY}`);
  });

function withDescriptors(more: number, save: Save, folder: string) {
  return spawnSync(process.execPath, [CHILD, root, save.name, folder, `${more}`], {
    encoding: 'utf8',
    env: { ...process.env, LD_PRELOAD: '' },
  });
}
