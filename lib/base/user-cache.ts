import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { errorCode } from './file.js';

/** What this package calls its own among the user's caches, and among temporary files. */
export const CACHE_NAME = 'branch-train-stitch';

/** Where the user's caches lie: XDG_CACHE_HOME, else `.cache` in the home folder; undefined where there is no home folder. */
export function cacheHome(): string | undefined {
  const home = homeFolder();
  return process.env.XDG_CACHE_HOME || (home && join(home, '.cache'));
}

/** This package's folder among the user's caches, made if needed. Throws the file system's error where that cannot be. */
export async function makeUserCache(parent: string): Promise<string> {
  // A folder that was chosen is made with all above it, a home folder that does not exist is not.
  if (process.env.XDG_CACHE_HOME) await mkdir(parent, { recursive: true });
  else await makeFolder(parent);
  const folder = join(parent, CACHE_NAME);
  await makeFolder(folder);
  return folder;
}

/** Makes a folder for the user alone, unless it is there. */
export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error) => {
    if (errorCode(error) !== 'EEXIST') throw error;
  });
}

/** The user's home folder; undefined where there is none, or it is the root of all files. */
function homeFolder(): string | undefined {
  try {
    const home = homedir();
    return isAbsolute(home) && home !== '/' ? home : undefined;
  } catch {
    // HOME is not set, and the system does not know the user's id.
    return undefined;
  }
}
