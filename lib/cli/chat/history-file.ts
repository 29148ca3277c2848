import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { overwrite } from '../../base/overwrite.js';
import { cacheHome, makeUserCache } from '../../base/user-cache.js';

const NAME = 'chat-history';
/** Lines that are kept. */
export const MOST_LINES = 1000;

/**
 * What was typed into earlier conversations, in a file of the user's cache that he alone reads. Where none can be written,
 * lines are kept as long as the program runs.
 */
export class HistoryFile {
  private constructor(
    private readonly path: string | undefined,
    /** The oldest first. */
    readonly lines: readonly string[],
  ) {}

  static async open(): Promise<HistoryFile> {
    const home = cacheHome();
    if (home === undefined) return new HistoryFile(undefined, []);
    try {
      const path = join(await makeUserCache(home), NAME);
      const all = (await readFile(path, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
      const lines = all.slice(-MOST_LINES);
      // It grows by a line at a time, so that conversations beside each other keep all of theirs.
      if (all.length > 2 * MOST_LINES) await overwrite(path, `${lines.join('\n')}\n`, 0o600);
      return new HistoryFile(path, lines);
    } catch {
      return new HistoryFile(undefined, []);
    }
  }

  async add(line: string): Promise<void> {
    if (this.path !== undefined) await appendFile(this.path, `${line}\n`, { mode: 0o600 }).catch(() => {});
  }
}
