/** Processes that are killed (SIGKILL) at any call of any save. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import * as assert from 'uvu/assert';
import { root as repository } from '../../native/packaging/root.js';
import { line } from '../support/lines.js';
import type { Save } from './saves.js';
import { CHANGES, type Effect, Faults } from './shim.js';
import { inFolder, root, saves } from './walk.js';

// One file starts in a tenth of the time that those of the repository take.
export const CHILD = join(repository, 'build', 'faults', 'child.mjs');
let built: Promise<unknown> | undefined;
export function buildChild(): Promise<unknown> {
  built ??= build({
    entryPoints: [join(repository, 'test', 'faults', 'child.ts')],
    outfile: CHILD,
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20', packages: 'external', logLevel: 'error' },
  });
  return built;
}

for (const save of saves.filter(({ isQuiet }) => !isQuiet))
  for (const [effect, what] of Object.entries({ KILL: 'before each change', TORN: 'amid each change' }))
    line(`${save.name}: killed ${what}`, async () => `${await killAtAll(save, effect as Effect)} times`);

/** Two at a time: this machine may have more to do. */
async function killAtAll(save: Save, effect: Effect): Promise<number> {
  await buildChild();
  let at = 0;
  let isThrough = false;
  const work = async () => {
    while (!isThrough) if (!(await killAt(save, effect, ++at))) isThrough = true;
  };
  await Promise.all([work(), work()]);
  return at;
}

/** Whether it was killed. */
async function killAt(save: Save, effect: Effect, at: number): Promise<boolean> {
  return await inFolder(async (folder) => {
    await save.prepare(folder);
    const faults = new Faults(`${folder}.page`);
    faults.arm({ folder, kinds: CHANGES, at, effect });
    const child = spawn(process.execPath, [CHILD, root, save.name, folder], {
      env: { ...process.env, ...faults.environment },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const [code, signal] = await once(child, 'exit');
    faults.close();
    rmSync(`${folder}.page`);
    try {
      if (signal === null) assert.is(code, 0);
      else assert.is(signal, 'SIGKILL');
      await save.found(folder);
      await save.save(folder);
      assert.is(await save.found(folder), 'new');
      const left = (await readdir(folder, { recursive: true })).filter((name) => /~(new|old|trash)~|\.tmp$/.test(name));
      assert.equal(left, [], 'litter');
    } catch (error) {
      throw new Error(`${effect} at change ${at}: ${(error as Error).stack}`);
    }
    return signal !== null;
  }, save.parent);
}
