import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { openSaves, type Save } from './saves.js';
import { type Effect, type Fault, ownFaults } from './shim.js';

/** Where the saves have their models and texts: below the folder that main.ts removes at the end. */
export const root = join(dirname(process.env.BTS_FAULTS!), 'saves');
export const saves = await openSaves(root);

/** Runs `use` with a new folder, which is removed afterwards. */
export async function inFolder<T>(use: (folder: string) => Promise<T>, parent = tmpdir()): Promise<T> {
  const folder = await mkdtemp(join(parent, 'bts-fault-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What is told of a save that failed: its cause, by name, and what to do. */
export function expectTold(error: unknown, cause: string): void {
  assert.instance(error, BtsError, `untyped: ${(error as Error)?.stack ?? error}`);
  const { code, message } = error as BtsError;
  assert.match(code, /^(FILE_IO|FILE_NOT_FOUND|OUT_OF_MEMORY)$/, message);
  assert.ok(message.includes(cause), `'${message}' does not name ${cause}`);
  assert.not.match(message, /''|The operating system refused\.$/, message);
}

/**
 * Lets each call of a save go wrong in turn: what was there before is there still, or what was saved is, whole; and once the
 * disk is well again the save goes through. Returns how many calls there were.
 */
export async function walk(save: Save, fault: Pick<Fault, 'kinds' | 'lasting'> & { effect: Effect }): Promise<number> {
  const faults = ownFaults();
  for (let at = 1; ; at++) {
    const isHit = await inFolder(async (folder) => {
      const moment = `${fault.effect} at call ${at}`;
      await save.prepare(folder);
      faults.arm({ ...fault, folder, at });
      const error = await thrown(() => save.save(folder));
      const hits = faults.disarm();
      try {
        if (error) expectTold(error, fault.effect);
        const found = await save.found(folder);
        if (!error && !save.isQuiet) assert.is(found, 'new', 'it said nothing, and saved nothing');
        await save.save(folder);
        if (!save.isQuiet) assert.is(await save.found(folder), 'new');
      } catch (problem) {
        throw new Error(`${moment}: ${(problem as Error).message}${error ? `\nafter ${(error as Error).stack}` : ''}`);
      }
      return hits > 0;
    }, save.parent);
    if (!isHit) return at - 1;
  }
}

export async function thrown(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  return undefined;
}
