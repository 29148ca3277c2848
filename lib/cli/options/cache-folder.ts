import { constants } from 'node:fs';
import { access, lstat, mkdir, mkdtemp } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { BtsError } from '../../base/errors.js';
import { note } from '../../terminal/output.js';

const NAME = 'branch-train-stitch';
const CHOOSE = 'Choose a folder for it with --cache or XDG_CACHE_HOME.';

/**
 * Where tokenized text is kept if `--cache` does not say: below XDG_CACHE_HOME, else in the home folder. Where that cannot be
 * written, as is common in containers, it is a folder for temporary files, and a note says so.
 *
 * @throws FILE_IO where that cannot be written either
 */
export async function defaultCacheFolder(): Promise<string> {
  const { XDG_CACHE_HOME: chosen } = process.env;
  const home = homeFolder();
  if (!chosen && !home) return await temporaryFolder('there is no home folder');
  const parent = chosen || join(home!, '.cache');
  try {
    // A folder that was chosen is made with all above it, a home folder that does not exist is not.
    if (chosen) await mkdir(parent, { recursive: true });
    else await makeFolder(parent);
    return await writableFolder(join(parent, NAME));
  } catch (error) {
    return await temporaryFolder(`'${parent}' cannot be written (${codeOf(error)})`);
  }
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

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error) => {
    if (codeOf(error) !== 'EEXIST') throw error;
  });
}

async function writableFolder(folder: string): Promise<string> {
  await makeFolder(folder);
  await access(folder, constants.W_OK | constants.X_OK);
  return folder;
}

async function temporaryFolder(why: string): Promise<string> {
  const user = process.getuid?.();
  const folder = join(tmpdir(), user === undefined ? NAME : `${NAME}-${user}`);
  try {
    await makeFolder(folder);
    const kept = (await isOwn(folder, user)) ? await writableFolder(folder) : await mkdtemp(`${folder}-`);
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
