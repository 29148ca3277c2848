/** What a power failure at any moment would leave: files are on the disk before they get their names, and names before it is done. */
import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { line } from '../support/lines.js';
import type { Save } from './saves.js';
import { ALL_FILES, ownFaults } from './shim.js';
import { inFolder, saves } from './walk.js';

// A cache that is not whole is made anew.
for (const save of saves.filter(({ isQuiet }) => !isQuiet))
  line(
    `${save.name}: power loss`,
    async () => `${await inFolder((folder) => check(save, folder), save.parent)} renames`,
  );

/** Names that are of no use after a failure: of locks, and of what is deleted. */
const isPassing = (path: string) => /~trash~|~lock/.test(path);
const isBelow = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);

async function check(save: Save, folder: string): Promise<number> {
  await save.prepare(folder);
  const there = await readdir(folder, { recursive: true });
  const log = `${folder}.log`;
  const faults = ownFaults();
  faults.arm({ folder, kinds: ALL_FILES, log });
  await save.save(folder);
  faults.disarm();
  assert.ok(existsSync(log), 'nothing was written');
  let renames = 0;
  const known = new Set([folder, ...there.map((name) => join(folder, name))]);
  /** Files and folders with what is not on the disk yet. */
  let dirty = new Set<string>();
  for (const [call, path, to] of readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((row) => row.split('\t') as [string, string, string])) {
    if ((call === 'create' || call === 'mkdir') && !known.has(path)) dirty.add(path).add(dirname(path));
    else if (/write|truncate/.test(call)) dirty.add(path);
    else if (/sync/.test(call)) dirty.delete(path);
    else if (/unlink|rmdir/.test(call)) dirty.delete(path);
    else if (call === 'rename') {
      renames++;
      const open = [...dirty].filter((name) => isBelow(name, path));
      if (!isPassing(to)) assert.equal(open, [], `renamed to ${to} before they were on the disk`);
      dirty = new Set([...dirty].map((name) => (isBelow(name, path) ? to + name.slice(path.length) : name)));
      dirty.add(dirname(to));
    }
  }
  const left = [...dirty].filter((path) => !isPassing(path) && existsSync(path));
  assert.equal(left, [], 'done before they were on the disk');
  assert.is(await save.found(folder), 'new');
  return renames;
}
