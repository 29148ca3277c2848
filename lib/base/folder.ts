import { randomBytes } from 'node:crypto';
import { lstat, mkdir, open, readdir, readlink, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BtsError, fileError } from './errors.js';
import { errorCode, exists } from './file.js';
import { formatOwner, isAlive, parseOwner, thisProcess } from './owner.js';

// What may lie beside a folder while it is replaced, and after a crash: `.NAME~KIND~OWNER~RANDOM`, KIND being
//   new    being written, of no use to anyone else
//   old    whole, moved aside; the folder itself if nothing has taken its place
//   trash  being deleted
// A directory cannot be renamed onto one that has content, so there is a moment between `old` stepping aside and `new`
// stepping in. A crash in it leaves `old`, which `recoverFolder` puts back.
type Kind = 'new' | 'old' | 'trash';

/**
 * Replaces the folder `target`, or creates it, with what `write` puts into the empty folder it is given. Everything is
 * flushed to the disk first. Whenever the process is killed or `write` fails, `target` is the old folder, whole, or the
 * new one, whole; leftovers of killed processes are removed by the next call. Readers call `recoverFolder` first.
 *
 * @param target the folder; its parent is there
 * @param write fills an empty folder beside it, whose path it is given
 * @throws FILE_IO (a full disk, say), or whatever `write` throws
 */
export async function replaceFolder(target: string, write: (temporary: string) => Promise<void>): Promise<void> {
  try {
    await mkdir(dirname(resolve(target)), { recursive: true });
    const place = await locate(target);
    await restore(place);
    await requireFolderOrNothing(place);
    await removeLeftovers(place);

    const temporary = await sibling(place, 'new');
    await mkdir(temporary);
    try {
      await write(temporary);
      await syncTree(temporary);
      await swapIn(temporary, place);
    } catch (error) {
      // Should this fail as well, the first error is the one to report, and the next call cleans up.
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      throw error;
    }
  } catch (error) {
    throw fileError(error, (error as NodeJS.ErrnoException | undefined)?.path ?? target, 'writing a folder');
  }
}

/**
 * Puts a folder back that a crash in `replaceFolder` left aside. Does nothing if the folder is there or never was. Safe at
 * any time, even while another process replaces the folder.
 *
 * @throws FILE_IO
 */
export async function recoverFolder(target: string): Promise<void> {
  try {
    await restore(await locate(target));
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw fileError(error, target, 'recovering a folder');
  }
}

/** The absolute path of a folder, links followed, so that all names of one folder agree. Its parent must exist. */
export async function locate(folder: string): Promise<string> {
  const path = resolve(folder);
  try {
    return await realpath(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    const link = await readlink(path).catch(() => null);
    return link === null ? join(await realpath(dirname(path)), basename(path)) : locate(resolve(dirname(path), link));
  }
}

async function restore(place: string): Promise<void> {
  if (await exists(place)) return;
  try {
    const asides = (await siblings(place)).filter(({ kind }) => kind === 'old');
    const dated = await Promise.all(asides.map(async ({ path }) => ({ path, moved: (await stat(path)).ctimeMs })));
    // More than one only if several machines crashed one after the other.
    const latest = dated.sort((a, b) => b.moved - a.moved)[0];
    if (latest && (await renameUnlessTaken(latest.path, place))) await sync(dirname(place));
  } catch (error) {
    // Gone: another process was faster.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

async function requireFolderOrNothing(place: string): Promise<void> {
  if ((await exists(place)) && !(await lstat(place)).isDirectory()) {
    throw new BtsError('FILE_IO', `'${place}' is a file; a folder of that name cannot be written.`);
  }
}

async function swapIn(temporary: string, place: string): Promise<void> {
  const asides: string[] = [];
  try {
    do {
      const aside = await sibling(place, 'old');
      if (await renameIfThere(place, aside)) asides.push(aside);
      // Taken: in this very moment someone else recovered the old folder or put another one there.
    } while (!(await renameUnlessTaken(temporary, place)));
  } catch (error) {
    for (const aside of asides.reverse()) await renameUnlessTaken(aside, place).catch(() => false);
    throw error;
  }
  await sync(dirname(place));
  // The new folder stands; if the old one cannot be deleted now, the next call tries again.
  for (const aside of asides) await discard(aside, place).catch(() => {});
}

/** Deletes what `restore` might put back; it must not find it half deleted. */
async function discard(aside: string, place: string): Promise<void> {
  const trash = await sibling(place, 'trash');
  if (!(await renameIfThere(aside, trash))) return;
  await sync(dirname(place));
  await rm(trash, { recursive: true, force: true });
}

async function removeLeftovers(place: string): Promise<void> {
  for (const { path, kind, owner } of await siblings(place)) {
    if (await isAlive(owner)) continue;
    if (kind === 'old') await discard(path, place);
    else await rm(path, { recursive: true, force: true });
  }
}

async function sibling(place: string, kind: Kind): Promise<string> {
  const owner = formatOwner(await thisProcess());
  return join(dirname(place), `.${basename(place)}~${kind}~${owner}~${randomBytes(4).toString('hex')}`);
}

async function siblings(place: string) {
  const found = [];
  for (const name of await readdir(dirname(place))) {
    const match = /^\.(.*)~(new|old|trash)~([^~]*)~[0-9a-f]{8}$/s.exec(name);
    const owner = parseOwner(match?.[3] ?? '');
    if (match && owner && match[1] === basename(place)) {
      found.push({ path: join(dirname(place), name), kind: match[2] as Kind, owner });
    }
  }
  return found;
}

async function syncTree(folder: string): Promise<void> {
  for (const item of await readdir(folder, { withFileTypes: true })) {
    if (item.isDirectory()) await syncTree(join(folder, item.name));
    else if (item.isFile()) await sync(join(folder, item.name));
  }
  await sync(folder);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** False if `from` does not exist. */
async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** False if `to` is a folder with content. */
async function renameUnlessTaken(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST'].includes(errorCode(error))) return false;
    throw error;
  }
}
