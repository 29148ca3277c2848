import { constants } from 'node:fs';
import { access, lstat, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BtsError } from '../../base/errors.js';
import { CACHE_NAME, cacheHome, makeFolder, makeUserCache } from '../../base/user-cache.js';
import { note } from '../../terminal/output.js';

const CHOOSE = 'Choose a folder for it with --cache or XDG_CACHE_HOME.';

/**
 * Where tokenized text is kept if `--cache` does not say: below XDG_CACHE_HOME, else in the home folder. Where that cannot be
 * written, as is common in containers, it is a folder for temporary files, and a note says so.
 *
 * @throws FILE_IO where that cannot be written either
 */
export async function defaultCacheFolder(): Promise<string> {
  const parent = cacheHome();
  if (!parent) return await temporaryFolder('there is no home folder');
  try {
    return await expectWritable(await makeUserCache(parent));
  } catch (error) {
    return await temporaryFolder(`'${parent}' cannot be written (${codeOf(error)})`);
  }
}

async function expectWritable(folder: string): Promise<string> {
  await access(folder, constants.W_OK | constants.X_OK);
  return folder;
}

async function temporaryFolder(why: string): Promise<string> {
  const user = process.getuid?.();
  const folder = join(tmpdir(), user === undefined ? CACHE_NAME : `${CACHE_NAME}-${user}`);
  try {
    await makeFolder(folder);
    const kept = (await isOwn(folder, user)) ? await expectWritable(folder) : await mkdtemp(`${folder}-`);
    note(`${why}: tokenized text is kept in '${kept}'. ${CHOOSE}`);
    return kept;
  } catch (error) {
    throw new BtsError(
      'FILE_IO',
      `There is nowhere to keep tokenized text: ${why}, and '${folder}' cannot be made or written (${codeOf(error)}). ${CHOOSE}`,
      { cause: error },
    );
  }
}

/** Whether no other user can have put something into a folder that anyone could have made first. */
async function isOwn(folder: string, user: number | undefined): Promise<boolean> {
  const { uid, mode } = await lstat(folder);
  return (
    user === undefined || (uid === user && (mode & 0o022) === 0 && (mode & constants.S_IFMT) === constants.S_IFDIR)
  );
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
