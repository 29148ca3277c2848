import { readlink, rename, symlink, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BtsError, fileError } from './errors.js';
import { errorCode } from './file.js';
import { locate, makeFolders } from './folder.js';
import { formatOwner, isAlive, parseOwner, thisProcess } from './owner.js';

/**
 * Keeps other processes, and other work of this one, out of a folder until disposed:
 *
 *     await using lock = await lockFolder(folder);
 *
 * The lock lies beside the folder, which may be replaced or not exist yet, and holds for those who ask for it only. One
 * left by a killed process is taken over.
 *
 * @throws FOLDER_IN_USE, FILE_IO
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  try {
    await makeFolders(dirname(resolve(folder)));
    const place = await locate(folder);
    const lock = join(dirname(place), `.${basename(place)}~lock`);
    const owner = formatOwner(await thisProcess());
    await acquire(lock, owner, folder);
    let held = true;
    return {
      async [Symbol.asyncDispose]() {
        if (!held) return;
        held = false;
        try {
          if ((await holderOf(lock)) === owner) await unlink(lock);
        } catch {
          // It goes with this process at the latest, and what is thrown here would hide how the work ended.
          unreleased.add(lock);
        }
      },
    };
  } catch (error) {
    throw fileError(error, folder, 'locking a folder');
  }
}

/** Locks that this process let go of while the disk failed. */
const unreleased = new Set<string>();

/** A lock is a symbolic link that names its owner: it comes into being with its content, or not at all. */
async function acquire(lock: string, owner: string, folder: string): Promise<void> {
  while (!(await created(lock, owner))) {
    const holder = await holderOf(lock);
    if (holder === null) continue;
    if (holder === owner && unreleased.delete(lock)) return;
    const running = parseOwner(holder);
    if (running === null || (await isAlive(running))) throw inUse(folder, lock, holder, owner);

    // The holder is dead. Of two processes that see this, the slower must not replace the lock that the faster has taken
    // meanwhile. So one needs a lock to replace a lock; renaming it onto the dead one is taking over and letting go in one.
    const takeover = `${lock}~`;
    await acquire(takeover, owner, folder);
    if ((await holderOf(lock)) === holder) return rename(takeover, lock);
    await unlink(takeover);
  }
}

async function created(lock: string, owner: string): Promise<boolean> {
  try {
    await symlink(owner, lock);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function holderOf(lock: string): Promise<string | null> {
  try {
    return await readlink(lock);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function inUse(folder: string, lock: string, holder: string, owner: string): BtsError {
  const user = holder === owner ? 'this process' : `process ${parseOwner(holder)?.pid ?? holder}`;
  return new BtsError(
    'FOLDER_IN_USE',
    `'${folder}' is in use by ${user}. Wait until it is done or choose another folder. ` +
      `If no such process runs on any machine, delete '${lock}'.`,
  );
}
