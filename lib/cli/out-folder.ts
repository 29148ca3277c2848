import { readdir } from 'node:fs/promises';
import { errorCode } from '../checkpoint/file.js';
import { recoverFolder } from '../checkpoint/folder.js';
import { lockFolder } from '../checkpoint/lock.js';
import { BtsError, fileError } from '../errors.js';
import { newestCheckpoint, trainingFolder } from '../train/checkpoint.js';

/**
 * Makes sure that a run into `out` overwrites nothing, and returns the checkpoint to resume from, if any.
 *
 * Throws FOLDER_IN_USE where another run is at work there; BAD_OPTION where the folder has content, or an unfinished run
 * beside it that is not to be resumed.
 */
export async function claimOut(out: string, resume: boolean): Promise<string | undefined> {
  await using _lock = await lockFolder(out);
  return await inspectOut(out, resume);
}

/** The same without a lock, which would have to be written. */
export async function inspectOut(out: string, resume: boolean): Promise<string | undefined> {
  await recoverFolder(out);
  if ((await entries(out)).length > 0) {
    throw new BtsError(
      'BAD_OPTION',
      `'${out}' exists and is not empty: choose another folder with --out, or remove it.`,
    );
  }
  const training = trainingFolder(out);
  const checkpoint = await newestCheckpoint(training);
  if (checkpoint && !resume) {
    throw new BtsError(
      'BAD_OPTION',
      `'${training}' has checkpoints of an unfinished run: go on with --resume, or remove that folder.`,
    );
  }
  return checkpoint;
}

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    if (errorCode(error) === 'ENOTDIR') {
      throw new BtsError('BAD_OPTION', `--out '${folder}' is a file, or lies below one: choose another folder.`);
    }
    throw fileError(error, folder, 'looking at the output folder');
  }
}
