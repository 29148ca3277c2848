/** What `npm run fuzz` begins with, and what it found once: each input gives a value or a typed error, with files of the system. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { inFolder } from '../data/data-fixtures.js';
import { keptFolder } from './engine/fuzz.js';
import { TARGETS } from './targets.js';

for (const [name, load] of Object.entries(TARGETS)) {
  test(`${name}: seeds, and inputs that were found once`, async () => {
    const target = await load();
    const kept = keptFolder(name);
    const files = await readdir(kept).catch(() => []);
    const inputs = [...target.seeds(), ...(await Promise.all(files.map((file) => readFile(join(kept, file)))))];
    assert.ok(inputs.length > 0);
    await inFolder({}, async (folder) => {
      await target.prepare?.(folder);
      for (const input of inputs) await target.run(input, folder);
    });
  });
}

test.run();
