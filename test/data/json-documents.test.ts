/** Documents of .json files. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DocumentOptions, readDocuments } from '../../lib/data/documents.js';
import { readJsonValues } from '../../lib/data/json-values.js';
import { collect, fails, inFolder } from './data-fixtures.js';

/** The texts of a .json file with this content, and the line that each is said to begin in. */
async function read(content: string | Uint8Array, options?: DocumentOptions): Promise<[text: string, line: number][]> {
  let found: [string, number][] = [];
  await inFolder({ 'a.json': content }, async (folder) => {
    const path = join(folder, 'a.json');
    found = (await collect(readDocuments([path], options))).map(({ text, source }) => {
      assert.ok(source.startsWith(`${path}:`));
      return [text, Number(source.slice(path.length + 1))];
    });
  });
  return found;
}

test('a list of objects, or of strings, is a document each', async () => {
  assert.equal(await read('[{"text":"one"},{"id":7,"text":"two"}]'), [
    ['one', 1],
    ['two', 1],
  ]);
  const pretty = JSON.stringify([{ text: 'one' }, { text: null }, null, { text: '[]{},"\\' }], null, 2);
  assert.equal(await read(pretty), [
    ['one', 2],
    ['[]{},"\\', 9],
  ]);
  assert.equal(await read('\ufeff["one" , "two, \\"quoted\\" ]"]\n'), [
    ['one', 1],
    ['two, "quoted" ]', 1],
  ]);
  assert.equal(await read('[]'), []);
  assert.equal(await read('[{"body":"one"}]', { textField: 'body' }), [['one', 1]]);
});

test('numbers that Python writes and JSON lacks stand in the way of no text', async () => {
  const rows = ['{"text":"NaN","score":NaN}', '{"text":"two","score":-Infinity}'];
  assert.equal(await read(`[${rows}]`), [
    ['NaN', 1],
    ['two', 1],
  ]);
  await inFolder({ 'a.jsonl': rows.join('\n') }, async (folder) => {
    const documents = await collect(readDocuments([join(folder, 'a.jsonl')]));
    assert.equal(
      documents.map(({ text }) => text),
      ['NaN', 'two'],
    );
  });
});

test('one object is a document, or the list in it is; so are objects one after another', async () => {
  assert.equal(await read('{\n "text": "one"\n}\n'), [['one', 1]]);
  assert.equal(await read('{"version":1,"data":[{"text":"one"},{"text":"two"}]}'), [
    ['one', 1],
    ['two', 1],
  ]);
  assert.equal(await read('{"text":"one"}\n{"text":"two"}\n\n{\n"text":"three"}{"text":"four"}'), [
    ['one', 1],
    ['two', 2],
    ['three', 4],
    ['four', 5],
  ]);
  assert.equal(await read('["one"]\n["two"]\n'), [
    ['one', 1],
    ['two', 2],
  ]);
});

test('lists longer than what is read at once come whole, and compressed ones too', async () => {
  const texts = Array.from({ length: 20_000 }, (_, i) => `${i} é "quoted\\" {[,]} ${'x'.repeat(i % 97)}`);
  const records = texts.map((text, id) => ({ id, nested: { list: [id, '}', null] }, text }));
  for (const content of [JSON.stringify(records), JSON.stringify(records, null, 1)]) {
    for (const bytes of [content, gzipSync(content)]) {
      const found = await read(bytes);
      assert.is(found.length, texts.length);
      assert.ok(found.every(([text], i) => text === texts[i]));
    }
  }
});

test('what is not JSON, or holds no text, is refused with file and line', async () => {
  for (const [content, message] of [
    ['Some prose.', /a\.json:1: .*end in \.txt/],
    ['[{"text":"one"}', /a\.json:1: the file ends within a value/],
    ['[{"text":"one"},\n{"text":"tw', /a\.json:2: the file ends within a value/],
    ['[{"text":"one"},]', /a\.json:1: '\]' cannot stand here/],
    ['[{"text":"one"}\n{"text":"two"}]', /a\.json:2: '\{' cannot stand here/],
    ['[,1]', /',' cannot stand here/],
    ['{"text":"one"},{"text":"two"}', /',' cannot stand here/],
    ['[{"text":}]', /JSON/],
    ['{"text":"one"]', /JSON/],
    ['["one"\n, 7]', /a\.json:2: expected a JSON object or a text, found 7/],
    ['[["one"]]', /expected a JSON object or a text, found \["one"\]/],
    ['[{"text":["one"]}]', /found a list/],
    ['{"body":"one"}', /found undefined.*\[body\]; choose one with textField/],
    ['{"a":["one"],"b":["two"]}', /found undefined.*\[a, b\]/],
  ] as const) {
    await fails(() => read(content), 'BAD_DATA', message);
  }
  await inFolder({ 'a.json': `["short","${'x'.repeat(100_000)}"]` }, async (folder) => {
    const path = join(folder, 'a.json');
    await fails(() => collect(readJsonValues(path, 1000)), 'BAD_DATA', /longer than 1000 characters.*\.jsonl/);
    assert.is((await collect(readJsonValues(path, 200_000))).length, 2);
  });
});

test('of a folder, .json files are not read unless they are named, and that is said where nothing else is there', async () => {
  await inFolder({ 'package.json': '{"name":"x"}' }, async (folder) => {
    await fails(
      () => collect(readDocuments([folder])),
      'BAD_DATA',
      /No text was found.*\.json.* only if they are named/,
    );
  });
});

test.run();
