/**
 * `npm run test:only -- FILE [...]`: runs the test files given and nothing before them. A file is named by its path or by
 * what of it lies below test/, with or without .test.ts: `test/model/cost.test.ts`, `model/cost`. A folder means all in it.
 */
import { relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'uvu/parse';
import { run } from 'uvu/run';
import { didYouMean } from '../lib/base/suggest.js';

const ENDING = '.test.ts';
const tests = fileURLToPath(new URL('.', import.meta.url));
const { suites } = await parse(tests, /\.test\.ts$/);
const names = suites.map(({ name }) => name.slice(0, -ENDING.length));

/** The names of the tests that one argument means. */
function chosen(argument: string): string[] {
  const below = relative(tests, resolve(argument));
  const path = (below.startsWith('..') ? relative(tests, resolve(tests, argument)) : below).replace(/\.test\.ts$/, '');
  const found = names.filter((name) => name === path || name.startsWith(`${path}/`));
  if (found.length > 0) return found;
  console.error(
    `No test is '${argument}': expected a file or folder of test/, as model/cost.${didYouMean(path, names)}`,
  );
  process.exit(1);
}

const wanted = process.argv.slice(2);
if (wanted.length === 0) {
  console.error('Which tests? Name files or folders of test/: npm run test:only -- model/cost tensor');
  process.exit(1);
}
const all = new Set(wanted.flatMap(chosen));
await run(suites.filter((_, i) => all.has(names[i]!)));
