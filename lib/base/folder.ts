import { mkdir, readdir, readlink, realpath, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BtsError, fileError } from './errors.js';
import { errorCode, exists, flush } from './file.js';
import { discard, leftovers, removeLeftovers, renameIfThere, renameUnlessTaken, sibling } from './siblings.js';

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
    await makeFolders(dirname(resolve(target)));
    const place = await locate(target);
    await restore(place);
    await isFolder(place);
    await removeLeftovers(dirname(place), place);

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

/** The same for all folders in a folder. @throws FILE_IO, FILE_NOT_FOUND */
export async function recoverFolders(parent: string): Promise<void> {
  try {
    for (const { kind, place } of await leftovers(parent)) if (kind === 'old') await restore(place);
  } catch (error) {
    throw fileError(error, parent, 'recovering folders');
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
    const asides = (await leftovers(dirname(place), place)).filter(({ kind }) => kind === 'old');
    const dated = await Promise.all(asides.map(async ({ path }) => ({ path, moved: (await stat(path)).ctimeMs })));
    // More than one only if several machines crashed one after the other.
    const latest = dated.sort((a, b) => b.moved - a.moved)[0];
    if (latest && (await renameUnlessTaken(latest.path, place))) await flush(dirname(place));
  } catch (error) {
    // Gone: another process was faster.
    if (errorCode(error) !== 'ENOENT') throw error;
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
  await flush(dirname(place));
  // The new folder stands; if the old one cannot be deleted now, the next call tries again.
  for (const aside of asides) await discard(aside, place).catch(() => {});
}

/** Makes a folder and those above it unless they are there, such that they outlive a power failure. */
export async function makeFolders(folder: string): Promise<void> {
  const path = resolve(folder);
  if (await isFolder(path)) return;
  await makeFolders(dirname(path));
  try {
    await mkdir(path);
  } catch (error) {
    // Another process was faster.
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  await flush(dirname(path));
}

/** False where there is nothing. Throws FILE_IO for a file. */
async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error))) return false;
    throw error;
  }
  throw new BtsError('FILE_IO', `'${path}' is a file; a folder of that name cannot be written.`);
}

/** Removes a folder if it is there: whoever looks finds it whole or not at all. @throws FILE_IO */
export async function removeFolder(folder: string): Promise<void> {
  try {
    const place = await locate(folder);
    await discard(place, place);
  } catch (error) {
    throw fileError(error, folder, 'removing a folder');
  }
}

async function syncTree(folder: string): Promise<void> {
  for (const item of await readdir(folder, { withFileTypes: true })) {
    if (item.isDirectory()) await syncTree(join(folder, item.name));
    else if (item.isFile()) await flush(join(folder, item.name));
  }
  await flush(folder);
}
