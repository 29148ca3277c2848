/** Whether an adapter is one of the hub that it came with. */
import { realpath } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { BtsError } from '../../base/errors.js';
import type { HashOptions } from '../../base/file-hash.js';
import type { Adapter } from '../../checkpoint/adapter.js';
import { findBase } from '../../checkpoint/adapter.js';
import { hashCheckpoint } from '../../checkpoint/hash.js';

interface Adapted {
  folder: string;
  adapter?: Adapter;
}

/**
 * Throws BAD_ADAPTER where the base that an adapter names lies here and holds other weights than the hub. Shapes were compared
 * before; a base that is not here is known by its name alone.
 */
export async function expectBase({ folder }: Adapted, hub: string, options: HashOptions): Promise<void> {
  const base = await findBase(folder).catch(unlessNone);
  if (base === undefined || (await realpath(base)) === (await realpath(hub))) return;
  const [ofBase, ofHub] = [await hashCheckpoint(base, options), await hashCheckpoint(hub, options)];
  if (ofBase === ofHub) return;
  throw new BtsError(
    'BAD_ADAPTER',
    `'${folder}' is an adapter of '${base}', whose weights are not those of the hub in '${hub}'. Take that as the hub.`,
  );
}

/** The error about an adapter that was given as the hub. */
export function adapterAsHub(folder: string): BtsError {
  return new BtsError(
    'BAD_ADAPTER',
    `'${folder}' is an adapter: the hub has to be a whole checkpoint, such as its base.`,
  );
}

function unlessNone(error: unknown): undefined {
  if (error instanceof BtsError && error.code === 'BAD_ADAPTER') return undefined;
  throw error;
}

/** What its owner should know of an adapter whose base cannot be found, and is not called like the hub; undefined: nothing. */
export async function baseDoubt({ folder, adapter }: Adapted, hub: string): Promise<string | undefined> {
  const called = adapter?.baseName;
  if (called === undefined || (await findBase(folder).catch(unlessNone)) !== undefined) return undefined;
  // A folder of that name, or what Hugging Face's cache makes of it.
  const places = [resolve(hub), await realpath(hub)];
  const names = [basename(called), `models--${called.replaceAll('/', '--')}`];
  if (places.some((place) => names.some((name) => place.split('/').includes(name)))) return undefined;
  return `was made of '${called}': whether that is the hub in '${hub}' cannot be checked beyond its shapes.`;
}
