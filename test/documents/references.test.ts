/** What documents refer to is there: files, headings, scripts of package.json, commands of bts and their options. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createProgram } from '../../lib/cli/program.js';
import { root } from '../../native/packaging/root.js';
import { commandsOf, guides, type Page, pages } from './markdown.js';

const program = createProgram(new AbortController().signal);
const { scripts, homepage } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** What is not in the package, such as sources of TypeScript, is linked to as it stands on GitHub. */
const ON_GITHUB = homepage.replace('#readme', '/blob/main/');
const isOutside = (link: string) => /^[a-z]+:/.test(link) && !link.startsWith(ON_GITHUB);

/** A link from a page to a file of the repository, or to a heading. */
function follow(page: Page, link: string): { path: string; anchor: string | undefined } {
  const [target, anchor] = link.split('#') as [string, string?];
  if (target.startsWith(ON_GITHUB)) return { path: target.slice(ON_GITHUB.length), anchor };
  const path = target === '' ? page.path : normalize(join(page.path, '..', decodeURI(target)));
  return { path, anchor };
}

for (const page of pages) {
  test(`${page.path} refers to what is there`, () => {
    for (const link of page.links.filter((link) => !isOutside(link))) {
      const { path, anchor } = follow(page, link);
      assert.ok(existsSync(join(root, path)), `it links to ${link}`);
      const target = pages.find((other) => other.path === path);
      if (anchor !== undefined)
        assert.ok(target?.anchors.has(anchor), `it links to ${link}, and there is no such heading`);
    }
    for (const [, script] of page.text.matchAll(/\bnpm run ([a-z][\w:-]*\w)/g))
      assert.ok(scripts[script!], `there is no 'npm run ${script}'`);
    const commands = [...page.blocks.map(({ text }) => text), ...page.listings].flatMap(commandsOf).concat(page.codes);
    for (const command of commands) {
      const [, words] = /^(?:npx )?bts (.*)/.exec(command) ?? [];
      if (words !== undefined) expectCommand(words);
    }
  });

  test(`${page.path} has no command for users that is not run`, () => {
    const commands = page.listings.flatMap(commandsOf).filter((line) => /^(npx |bts |npm install|hf )/.test(line));
    assert.equal(commands, [], 'commands stand in fenced blocks, which blocks.test.ts runs');
  });
}

const packing = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
});
const packed = (JSON.parse(packing)[0].files as { path: string }[]).map(({ path }) => path);

for (const guide of guides) {
  test(`${guide.path} is in the package, and leads to what is there`, () => {
    const targets = guide.links.filter((link) => !/^[a-z]+:/.test(link)).map((link) => follow(guide, link).path);
    for (const path of [guide.path, ...targets])
      assert.ok(
        packed.some((file) => file === path || file.startsWith(`${path}/`)),
        path,
      );
  });
}

/** Fails unless the words behind `bts` begin with a command, and their options are its own. */
function expectCommand(words: string): void {
  if (/^--?[a-z]/.test(words) || /^COMMAND/.test(words)) return;
  let command = program;
  for (const word of words.split(/[\s,=]+/)) {
    command = command.commands.find((inner) => inner.name() === word) ?? command;
    if (!/^--[a-z]/.test(word) || word === '--help') continue;
    assert.ok(
      command.options.some(({ long }) => long === word.replace(/[).]+$/, '')),
      `bts ${words}: there is no ${word}`,
    );
  }
  assert.is.not(command, program, `bts ${words}: there is no such command`);
}

test("README's table of results has the numbers that the results have", () => {
  const rowsOf = (path: string) =>
    pages
      .find((page) => page.path === path)!
      .text.split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) => line.split('|').map((cell) => cell.replaceAll('*', '').trim()));
  const results = new Map(rowsOf('bench/reproduce/results/README.md').map((cells) => [cells[1], cells]));
  const shown = rowsOf('README.md').filter((cells) => /^\d\.\d{3}$/.test(cells[2]!));
  assert.ok(shown.length > 10);
  for (const [, system, mean, switching, accuracy] of shown) {
    const row = results.get(system)!;
    assert.equal([mean, switching, accuracy], [row[6], row[8], row[13]], system);
  }
});

test.run();
