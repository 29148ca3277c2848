/**
 * What documents refer to is there: files, scripts of package.json, commands of bts and their options. README.md's own commands
 * are run by readme.test.ts.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createProgram } from '../../lib/cli/program.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: root })
  .toString()
  .trim()
  .split('\n');
const program = createProgram(new AbortController().signal);
const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

for (const document of documents) {
  test(`${document} refers to what is there`, async () => {
    const text = await readFile(join(root, document), 'utf8');
    for (const [, target] of text.matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      assert.ok(existsSync(join(root, dirname(document), target!)), `it links to ${target}`);
    }
    for (const [, script] of text.matchAll(/\bnpm run ([a-z][\w:-]*\w)/g))
      assert.ok(scripts[script!], `there is no 'npm run ${script}'`);
    for (const [, words] of text.replace(/\\\n/g, ' ').matchAll(/^ *bts ([a-z].*)/gm)) expectCommand(words!);
  });
}

/** Fails unless the words behind `bts` begin with a command, and their options are its own. */
function expectCommand(words: string): void {
  let command = program;
  for (const word of words.replace(/\s#.*/, '').split(/\s+/)) {
    command = command.commands.find((inner) => inner.name() === word) ?? command;
    if (!/^--[a-z]/.test(word) || word === '--help') continue;
    assert.ok(
      command.options.some(({ long }) => long === word),
      `bts ${words}: there is no ${word}`,
    );
  }
  assert.is.not(command, program, `bts ${words}: there is no such command`);
}

test.run();
