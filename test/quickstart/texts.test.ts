import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { proseParagraphs } from '../../lib/quickstart/texts/markdown.js';
import { type CollectOptions, collectTexts, DOMAINS } from '../../lib/quickstart/texts/texts.js';

let folder: string;
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-texts-'));
});
test.after.each(() => rm(folder, { recursive: true }));

/** A package that publishes its folder `lib`, or what is said, with these files, given by their paths below it. */
async function project(
  files: Record<string, string>,
  at = 'project',
  published = ['lib', 'notes.md'],
): Promise<string> {
  const root = join(folder, at);
  const manifest = JSON.stringify({ name: 'own', files: published });
  for (const [path, text] of Object.entries({ 'package.json': manifest, ...files })) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return root;
}

async function documents(path: string): Promise<string[]> {
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line).text);
}

/** The texts of one domain of a small project, where 1000 bytes are enough. */
async function collect(domain: (typeof DOMAINS)[number], packageRoot: string): Promise<string> {
  const options = { packageRoot, domains: [domain], maxBytesPerDomain: 10_000 };
  const [collected] = await collectTexts(join(folder, 'texts'), options);
  return (await documents(collected!.path)).join('\n=====\n');
}

async function failure(options: CollectOptions): Promise<BtsError> {
  try {
    await collectTexts(join(folder, 'texts'), options);
  } catch (error) {
    assert.instance(error, BtsError);
    return error as BtsError;
  }
  throw new Error('no error was thrown');
}

/** Sentences that are all different, about `bytes` of them. */
function sentences(bytes: number, about: string): string {
  let text = '';
  for (let count = 0; text.length < bytes; count++) text += `Sentence ${about} ${count} says that water is wet.\n\n`;
  return text;
}

/** Source code with a function that tells where it is from. */
function source(mark: string, bytes = 300): string {
  let text = `export function ${mark}() {\n`;
  while (text.length < bytes) text += `  console.log('a statement of ${mark}', ${text.length});\n`;
  return `${text}}\n`;
}

test('this package and those installed beside it give four domains of the same size', async () => {
  const collected = await collectTexts(folder);
  assert.equal(
    collected.map(({ name }) => name),
    [...DOMAINS],
  );
  const largest = Math.max(...collected.map(({ bytes }) => bytes));
  for (const { name, path, bytes, documents: count, sources } of collected) {
    assert.is(path, join(folder, `${name}.jsonl`));
    const texts = await documents(path);
    assert.is(texts.length, count);
    assert.is(Buffer.byteLength(texts.join('')), bytes);
    assert.ok(bytes > 2 ** 20 && bytes > 0.98 * largest, `${name} has ${bytes} bytes`);
    assert.ok(count > 200 && texts.every((text) => text.trim() !== ''));
    assert.match(sources, String(count));
  }
  assert.equal((await readdir(folder)).sort(), [...DOMAINS].map((name) => `${name}.jsonl`).sort());
  const [prose, code, languages] = await Promise.all(
    collected.map(async ({ path }) => (await documents(path)).join('\n')),
  );
  assert.not.match(prose!, /```|\]\(http|<img\s|Permission is hereby granted|THE SOFTWARE IS PROVIDED/);
  assert.not.match(code!, /sourceMappingURL=\w+\.map$/m);
  for (const word of ['Stunden', 'フランス', '프랑스', 'секунд', 'dakika', 'Francia']) assert.match(languages!, word);
});

test('the same packages and seed give the same files, another seed others', async () => {
  const run = async (name: string, seed: number) => {
    const options = { seed, maxBytesPerDomain: 100_000, domains: ['code', 'math'] as const };
    const collected = await collectTexts(join(folder, name), options);
    return Promise.all(collected.map(({ path }) => readFile(path, 'utf8')));
  };
  const first = await run('a', 1);
  assert.equal(await run('b', 1), first);
  const other = await run('c', 2);
  assert.ok(other.every((text, place) => text !== first[place]));
});

test('prose is what is left of Markdown without code, badges, tables, HTML and licences', () => {
  const markdown = `---
title: front matter that nobody reads here
---
<p align="center"><img src="x.png"></p>

# A [name](https://x.test) &amp; more

[![build](https://ci.test/a.svg)](https://ci.test) ![npm](https://npm.test/b.svg)

The **first** paragraph is
wrapped and has a [link](https://x.test/a "title"), \`code_with_under_scores\` and <b>bold</b> HTML.

\`\`\`js
const example = 'this is code, not prose at all';
\`\`\`

    indented code is not prose either, however long

| a table | of links |
| ------- | -------- |

- a list item with enough words to be prose
- [short](https://x.test)

## Bug fixes

* do not crash on an empty file ([#12](https://x.test/12)) ([abc1234](https://x.test/c)), closes [#9](https://x.test/9)

## License

This package is licensed under the terms of its license.
`;
  assert.equal(proseParagraphs(markdown), [
    'A name & more',
    'The first paragraph is wrapped and has a link, code_with_under_scores and bold HTML.',
    '- a list item with enough words to be prose',
    'Bug fixes',
    '- do not crash on an empty file',
  ]);
});

test('prose comes from English Markdown and the comments of declarations, each paragraph once', async () => {
  const root = await project({
    'node_modules/a/README.md': `${sentences(900, 'of a')}\nThis paragraph stands in two packages.\n`,
    'node_modules/a/LICENSE.md': sentences(600, 'of the terms'),
    'node_modules/a/README.de.md': sentences(600, 'auf Deutsch'),
    'node_modules/a/node_modules/nested/README.md': sentences(600, 'of nested'),
    'node_modules/b/docs/guide.md': `This paragraph stands in two packages.\n\n${sentences(400, 'of b')}\n这一段是用中文写的，不是英文。\n`,
    'node_modules/own/README.md': sentences(600, 'of own'),
    'README.md': sentences(600, 'of the project'),
    'node_modules/c/index.d.ts': `/** ${'A comment tells what the function does. '.repeat(9)}\n * @param x is not told */\ndeclare const secret: 1;`,
  });
  const text = await collect('prose', root);
  for (const expected of ['of a 0', 'of b 0', 'of nested 0', 'of the project', 'A comment tells'])
    assert.match(text, expected);
  for (const other of ['terms', 'Deutsch', 'of own', '中文', 'secret', '@param']) assert.not.match(text, other);
  assert.is(text.match(/stands in two packages/g)?.length, 1);
});

test('code is one form of each module, without what machines wrote', async () => {
  const root = await project({
    'node_modules/a/src/module.ts': source('typescript_form', 900),
    'node_modules/a/dist/module.js': source('compiled_form'),
    'node_modules/a/dist/module.d.ts': source('declared_form'),
    'node_modules/a/dist/commonjs/other.js': source('commonjs_form'),
    'node_modules/a/dist/esm/other.js': `${source('esm_form')}//# sourceMappingURL=other.js.map\n`,
    'node_modules/a/dist/a.min.js': source('minified_by_name'),
    'node_modules/b/index.js': `/*! (c) me. MIT License */\n${source('with_licence')}`,
    'node_modules/b/copy.js': `${source('same_content')}`,
    'node_modules/b/copy2.js': `${source('same_content')}`,
    'node_modules/b/long.js': `var minified_by_lines=1;${'x=x+1;'.repeat(100)}`,
    'node_modules/b/generated.js': `// @generated by a tool\n${source('generated')}`,
    'node_modules/b/locales/de.js': source('translated'),
    'node_modules/b/data.json': source('json'),
    'node_modules/own/index.js': source('of_own'),
    'lib/index.ts': source('of_the_project'),
    'lib/kernel.cc': source('cpp_source'),
    'lib/kernel.h': source('cpp_header'),
    'test/index.ts': source('not_published'),
  });
  const text = await collect('code', root);
  const marks = [...text.matchAll(/function (\w+)/g)].map(([, mark]) => mark).sort();
  const own = ['cpp_header', 'cpp_source', 'esm_form', 'of_the_project'];
  assert.equal(marks, [...own, 'same_content', 'typescript_form', 'with_licence']);
  assert.not.match(text, /MIT License|sourceMappingURL|minified/);
});

test('of a clone only what npm publishes is read: patterns, and what is taken out again', async () => {
  const files = {
    'lib/deep/a.md': sentences(600, 'of a pattern'),
    'lib/top.md': sentences(600, 'at the top'),
    'lib/deep/a.d.ts': `/** ${'A declaration that stays at home. '.repeat(20)} */`,
    'libs/a.md': sentences(600, 'of another folder'),
    'native/a.md': sentences(600, 'of a folder'),
    'native/own/a.md': sentences(600, 'taken out'),
    'README.md': sentences(2000, 'of the project'),
  };
  const text = await collect('prose', await project(files, 'clone', ['lib/**/*.md', 'native', '!native/own']));
  for (const expected of ['of a pattern', 'at the top', 'of a folder', 'of the project']) assert.match(text, expected);
  for (const other of ['at home', 'another', 'taken out']) assert.not.match(text, other);
});

test('no package gives more than its share of the code', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 40 }, (_, file) => [`node_modules/big/f${file}.js`, source(`big${file}`)]),
  );
  const small = Object.fromEntries(
    'abcdef'.split('').map((name) => [`node_modules/${name}/f.js`, source(`small_${name}`)]),
  );
  const root = await project({ ...files, ...small });
  const text = await collect('code', root);
  // A sixth of 10,000 bytes.
  assert.is(text.match(/function big/g)?.length, 5);
  assert.is(text.match(/function small/g)?.length, 6);
});

test('languages are phrases of many languages, each document in one', async () => {
  const groups = (await collect('languages', folder)).split('\n=====\n');
  assert.ok(groups.length > 10);
  const scripts = [/\p{Script=Hangul}/u, /\p{Script=Hiragana}/u, /\p{Script=Cyrillic}/u];
  const found = groups.map((group) => scripts.filter((script) => script.test(group)).length);
  assert.ok(Math.max(...found) === 1, 'no document mixes scripts');
  assert.is(new Set(groups).size, groups.length);
});

test('where too little is installed the error says so, and the way around', async () => {
  const packageRoot = await project({ 'node_modules/a/README.md': sentences(500, 'of a') });
  const error = await failure({ packageRoot, domains: ['prose'] });
  assert.is(error.code, 'BAD_DATA');
  assert.match(error.message, '--domain prose=path');
  assert.equal(await readdir(folder), ['project'], 'nothing was written');
});

test('it works wherever a package manager puts the package: beside others, above them, or alone', async () => {
  const files = { 'lib/a.ts': source('own', 1500), 'README.md': sentences(2000, 'of own') };
  const other = (name: string) => ({ [`node_modules/${name}/index.js`]: source(name, 1500) });
  const code = async (root: string) =>
    [...(await collect('code', root)).matchAll(/function (\w+)/g)].map(([, mark]) => mark).sort();
  assert.equal(await code(await project(files, 'alone')), ['own']);
  assert.match(await collect('prose', join(folder, 'alone')), 'of own 0');
  assert.equal(await code(await project({ ...files, ...other('nested') }, 'global')), ['nested', 'own']);
  await project({ ...other('beside'), ...other('own') }, 'consumer');
  const hoisted = await project(
    { ...files, ...other('nested'), 'node_modules/.bin/tool': '' },
    'consumer/node_modules/own',
  );
  assert.equal(await code(hoisted), ['beside', 'nested', 'own']);
});

test('math needs no packages', async () => {
  const [math] = await collectTexts(folder, { packageRoot: folder, domains: ['math'], maxBytesPerDomain: 50_000 });
  assert.ok(math!.bytes > 49_000 && math!.bytes <= 50_000);
});

test('links between folders are not followed, so a circle of them ends', async () => {
  const root = await project({ 'node_modules/a/index.js': source('a', 1500) });
  await symlink(root, join(root, 'node_modules', 'a', 'circle'));
  await symlink(root, join(root, 'node_modules', 'linked'));
  assert.is((await collect('code', root)).match(/function/g)?.length, 1);
});

test('an aborted signal stops it, and no file is left', async () => {
  const error = await failure({ signal: AbortSignal.abort() });
  assert.is(error.code, 'ABORTED');
  const late = new AbortController();
  setTimeout(() => late.abort(), 150);
  assert.is((await failure({ signal: late.signal })).code, 'ABORTED');
  assert.equal(await readdir(folder), []);
});

test('a folder that cannot be written is a typed error', async () => {
  await writeFile(join(folder, 'file'), '');
  try {
    await collectTexts(join(folder, 'file'), { domains: ['math'], maxBytesPerDomain: 10_000 });
    assert.unreachable();
  } catch (error) {
    assert.is((error as BtsError).code, 'FILE_IO');
  }
});

test('a size that is too small or no number is refused', async () => {
  for (const maxBytesPerDomain of [0, -1, 9999, Number.NaN])
    assert.is((await failure({ maxBytesPerDomain })).code, 'BAD_OPTION');
});

test.run();
