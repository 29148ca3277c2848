import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileError } from './errors.js';
import { errorCode, flush } from './file.js';
import { locate, makeFolders } from './folder.js';
import { removeLeftovers, sibling } from './siblings.js';

/**
 * Writes a file in one piece: whoever looks, be it after a crash or a power failure, finds the old one or the new one. What is no
 * file (`/dev/stdout`, a pipe) is written to.
 *
 * @throws FILE_IO, FILE_NOT_FOUND
 */
export async function overwrite(path: string, text: string, mode = 0o666): Promise<void> {
  try {
    await makeFolders(dirname(resolve(path)));
    const place = await locate(path);
    if (!(await isFileOrNothing(place))) return await writeFile(place, text);
    await removeLeftovers(dirname(place), place);
    const temporary = await sibling(place, 'new');
    try {
      await writeFile(temporary, text, { flag: 'wx', mode, flush: true });
      await rename(temporary, place);
    } catch (error) {
      // Should this fail as well, the first error is the one to report, and the next call cleans up.
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
    await flush(dirname(place));
  } catch (error) {
    throw fileError(error, path, 'Writing a file');
  }
}

async function isFileOrNothing(place: string): Promise<boolean> {
  try {
    return (await stat(place)).isFile();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return true;
    throw error;
  }
}
