/** Disks, servers and limits that fail at any call of any save. */
import { execFileSync } from 'node:child_process';
import { readdir, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { line, Skipped } from '../support/lines.js';
import type { Save } from './saves.js';
import { ALL_FILES, CHANGES, type Effect, KINDS } from './shim.js';
import { expectTold, inFolder, saves, thrown, walk } from './walk.js';

const FAULTS: { what: string; effect: Effect; kinds: number; lasting?: boolean }[] = [
  { what: 'an I/O error', effect: 'EIO', kinds: ALL_FILES },
  { what: 'a disk that fails for good', effect: 'EIO', kinds: CHANGES, lasting: true },
  { what: 'a disk that fills up', effect: 'ENOSPC', kinds: KINDS.WRITE | KINDS.OPEN, lasting: true },
  { what: 'reads and writes that come short', effect: 'SHORT', kinds: KINDS.READ | KINDS.WRITE },
  { what: 'a file server that lost the file', effect: 'ESTALE', kinds: KINDS.NAME | KINDS.READ | KINDS.SYNC },
  { what: 'a rename to another disk', effect: 'EXDEV', kinds: KINDS.NAME },
  { what: 'no locks', effect: 'ENOLCK', kinds: KINDS.NAME | KINDS.OPEN },
  { what: 'no file descriptors left', effect: 'EMFILE', kinds: KINDS.OPEN | KINDS.READ, lasting: true },
];

for (const save of saves) {
  for (const { what, effect, kinds, lasting = false } of FAULTS)
    line(
      `${save.name}: ${what} (${effect})`,
      async () => `at each of ${await walk(save, { effect, kinds, lasting })} calls`,
    );
  line(`${save.name}: a full disk`, () => onFullDisks(save));
}

const PAGE_BYTES = 4096;

/** Saves on a disk with no room, then with a page more, until it goes through. */
async function onFullDisks(save: Save): Promise<string> {
  return await inFolder(async (disk) => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk], { stdio: 'pipe' });
    } catch {
      throw new Skipped('a tmpfs cannot be mounted here');
    }
    try {
      for (let pages = 0; ; pages++) {
        const ballast = join(disk, 'ballast');
        for (const name of await readdir(disk)) await rm(join(disk, name), { recursive: true });
        await save.prepare(disk);
        await writeFile(ballast, '');
        const { bavail } = await statfs(disk);
        await writeFile(ballast, Buffer.alloc(Math.max(0, bavail - pages) * PAGE_BYTES));
        const error = await thrown(() => save.save(disk));
        await truncate(ballast, 0);
        if (error) expectTold(error, 'ENOSPC');
        const found = await save.found(disk);
        if (!error && !save.isQuiet) assert.is(found, 'new', 'it said nothing, and saved nothing');
        await save.save(disk);
        if (!save.isQuiet) assert.is(await save.found(disk), 'new');
        // Once it goes through with room to spare, more of it changes nothing.
        if (!error && (!save.isQuiet || pages > 20)) return `with room for 0 to ${pages} pages`;
      }
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  }, save.parent);
}
