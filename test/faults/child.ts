/** One save in a process of its own, to be killed or limited: child.ts ROOT NAME FOLDER [DESCRIPTORS, beside those that are open]. */
import { execFileSync } from 'node:child_process';
import { openSync, readdirSync } from 'node:fs';
import { openSaves } from './saves.js';

const [root = '', name = '', folder = '', descriptors] = process.argv.slice(2);
const save = (await openSaves(root)).find((save) => save.name === name)!;
if (descriptors !== undefined) {
  // Those that are free below the highest one are taken first.
  const highest = Math.max(...readdirSync('/proc/self/fd').map(Number));
  let last = 0;
  while (last < highest) last = openSync('/dev/null', 'r');
  const limit = last + 1 + Number(descriptors);
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--nofile=${limit}:${limit}`]);
}
await save.save(folder);
