import { readdir } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import { BtsError, fileError } from '../../base/errors.js';
import { errorCode } from '../../base/file.js';
import { locate, recoverFolder } from '../../base/folder.js';
import { lockFolder } from '../../base/lock.js';
import { note, printJson } from '../../terminal/output.js';
import { newestCheckpoint, stepOf, trainingFolder } from '../../train/checkpoint.js';
import { lastStep } from '../../train/metrics.js';

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
      `'${training}' has checkpoints of an unfinished run: go on with --resume after step ${stepOf(checkpoint)}, ` +
        'choose another folder with --out, or remove that folder.',
    );
  }
  return checkpoint;
}

/**
 * Whether `--resume` finds nothing left to do, which is then said: the model is there, and beside it the metrics of its run.
 * Throws BAD_OPTION where more or fewer steps are asked for than that run had.
 */
export async function isFinished(
  { out, resume, steps }: { out: string; resume: boolean; steps: number },
  json = false,
): Promise<boolean> {
  if (!resume) return false;
  await recoverFolder(out);
  if ((await entries(out)).length === 0) return false;
  const reached = await lastStep(trainingFolder(out));
  if (reached === undefined) return false;
  if (reached !== steps) {
    throw new BtsError(
      'BAD_OPTION',
      `cannot resume: --steps is ${steps}, the run that made '${out}' is finished and had ${reached}. ` +
        'To train its model further, begin another run with it, in another folder.',
    );
  }
  note(`'${out}' is finished: its run has made all of its ${steps} steps. Nothing was done.`);
  if (json) printJson({ model: out, steps, finished: true });
  return true;
}

/** Folders as one that lies beside `out` knows them: the same where all are moved together, or go by other names. */
export async function placesBeside(
  out: string,
  folders: Readonly<Record<string, string | undefined>>,
): Promise<Record<string, string>> {
  const place = dirname(await locate(out));
  const places: Record<string, string> = {};
  for (const [name, folder] of Object.entries(folders)) {
    if (folder !== undefined) places[name] = relative(place, await locate(folder));
  }
  return places;
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
