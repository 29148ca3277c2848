import { randomBytes } from 'node:crypto';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, exists, flush } from './file.js';
import { formatOwner, isAlive, parseOwner, thisProcess } from './owner.js';

// What may lie beside a folder or a file while it is replaced, and after a crash: `.NAME~KIND~OWNER~RANDOM`, KIND being
//   new    being written, of no use to anyone else
//   old    whole, moved aside; the folder itself if nothing has taken its place
//   trash  being deleted
// A directory cannot be renamed onto one that has content, so there is a moment between `old` stepping aside and `new`
// stepping in. A crash in it leaves `old`, which `recoverFolder` puts back.
type Kind = 'new' | 'old' | 'trash';

/** Removes what killed processes left in a folder, or of one place in it. What only `recoverFolder` can put back stays. */
export async function removeLeftovers(folder: string, place?: string): Promise<void> {
  for (const found of await leftovers(folder, place)) {
    if (await isAlive(found.owner)) continue;
    if (found.kind !== 'old') await rm(found.path, { recursive: true, force: true });
    else if (await exists(found.place)) await discard(found.path, found.place);
  }
}

/** A new name beside a place. */
export async function sibling(place: string, kind: Kind): Promise<string> {
  const owner = formatOwner(await thisProcess());
  return join(dirname(place), `.${basename(place)}~${kind}~${owner}~${randomBytes(4).toString('hex')}`);
}

/** All that lies in a folder beside its places, or beside one of them. */
export async function leftovers(folder: string, place?: string) {
  const found = [];
  for (const name of await readdir(folder)) {
    const match = /^\.(.*)~(new|old|trash)~([^~]*)~[0-9a-f]{8}$/s.exec(name);
    const owner = parseOwner(match?.[3] ?? '');
    if (!match || !owner || (place !== undefined && match[1] !== basename(place))) continue;
    found.push({ path: join(folder, name), place: join(folder, match[1]!), kind: match[2] as Kind, owner });
  }
  return found;
}

/** Deletes a folder that lies at a place or beside it: nobody finds it half deleted. */
export async function discard(aside: string, place: string): Promise<void> {
  const trash = await sibling(place, 'trash');
  if (!(await renameIfThere(aside, trash))) return;
  await flush(dirname(place));
  await rm(trash, { recursive: true, force: true });
}

/** False if `from` does not exist. */
export async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** False if `to` is a folder with content. */
export async function renameUnlessTaken(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST'].includes(errorCode(error))) return false;
    throw error;
  }
}
