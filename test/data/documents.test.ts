import { symlink, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { cutText } from '../../lib/data/cut-text.js';
import { type DocumentOptions, readDocuments } from '../../lib/data/documents.js';
import { findTextFiles } from '../../lib/data/text-files.js';
import { readLines } from '../../lib/data/text-reader.js';
import { collect, fails, inFolder } from './data-fixtures.js';

/** Written by pyarrow: columns id and text, rows 'first document', 'zwölf Boxkämpfer', 'first document', null. */
const SNAPPY_TWO_ROW_GROUPS_DICTIONARY = Buffer.from(
  `UEFSMRUEFRAVFEwVBBUAEgAACBwBAAAAAgAAABUAFRIVFiwVBBUQFQYVBhwAAAAJIAIAAAAEAQEDAhUEFVAVVEwVBBUAEgAAKJwOAAAAZmlyc3Qg
   ZG9jdW1lbnQSAAAAenfDtmxmIEJveGvDpG1wZmVyFQAVEhUWLBUEFRAVBhUGHAAAAAkgAgAAAAQBAQMCFQQVEBUUTBUEFQASAAAIHAMAAAAEAAAA
   FQAVEhUWLBUEFRAVBhUGHAAAAAkgAgAAAAQBAQMCFQQVJBUoTBUCFQASAAASRA4AAABmaXJzdCBkb2N1bWVudBUAFRIVFiwVBBUQFQYVBhwAAAAJ
   IAIAAAADAQECABUEGTw1ABgGc2NoZW1hFQQAFQIlAhgCaWQAFQwlAhgEdGV4dCUATBwAAAAWCBksGSwmABwVAhk1AAYQGRgCaWQVAhYEFmQWbCY4
   JggpLBUEFQAVAgAVABUQFQIAPCkGGSYABAAAACYAHBUMGTUABhAZGAR0ZXh0FQIWBBakARasASbkASZ0KSwVBBUAFQIAFQAVEBUCADwWQBkGGSYA
   BAAAABaIAhYEJggWmAIAGSwmABwVAhk1AAYQGRgCaWQVAhYEFmQWbCbQAiagAiksFQQVABUCABUAFRAVAgA8KQYZJgAEAAAAJgAcFQwZNQAGEBkY
   BHRleHQVAhYEFngWgAEm0AMmjAMpLBUEFQAVAgAVABUQFQIAPBYcGQYZJgICAAAAFtwBFgQmoAIW7AEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJz
   aW9uIDI1LjAuMRksHAAAHAAAAFkBAABQQVIx`,
  'base64',
);
const ZSTD_PAGES_V2 = Buffer.from(
  `UEFSMRUGFSQVJFwVCBUAFQgVABUEFQASHAAAAAgBAQAAAAIAAAADAAAABAAAABUGFXgVdlwVCBUCFQgVABUEFQARHAAAAAMHKLUv/SA6hQEAhAIO
   AAAAZmlyc3QgZG9jdW1lbnQSAAAAenfDtmxmIEJveGvDpG1wZmVyAQBYnioDFQQZPDUAGAZzY2hlbWEVBAAVAiUCGAJpZAAVDCUCGAR0ZXh0JQBM
   HAAAABYIGRwZLCYAHBUCGSUGABkYAmlkFQwWCBZUFlQmCEkcFQAVABUCADwpBhkmAAgAAAAmABwVDBklBgAZGAR0ZXh0FQwWCBaoARamASZcSRwV
   ABUAFQIAPBZcGQYZJgIGAAAAFvwBFggmCBb6AQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGSwcAAAcAAAAwwAAAFBBUjE=`,
  'base64',
);
/** One column, text: 'x', 200,000 times. */
const MANY_ROWS = Buffer.from(
  `UEFSMRUEFQoVCkwVAhUAEgAAAQAAAHgVABUaFRosFcC4AhUQFQYVBhwAAAAEAAAAwLgCAQHAuAIAFQAVGhUaLBXAuAIVEBUGFQYcAAAABAAAAMC4
   AgEBwLgCABUAFRoVGiwVwLgCFRAVBhUGHAAAAAQAAADAuAIBAcC4AgAVABUaFRosFcC4AhUQFQYVBhwAAAAEAAAAwLgCAQHAuAIAFQAVGhUaLBXA
   uAIVEBUGFQYcAAAABAAAAMC4AgEBwLgCABUAFRoVGiwVwLgCFRAVBhUGHAAAAAQAAADAuAIBAcC4AgAVABUaFRosFcC4AhUQFQYVBhwAAAAEAAAA
   wLgCAQHAuAIAFQAVGhUaLBXAuAIVEBUGFQYcAAAABAAAAMC4AgEBwLgCABUAFRoVGiwVwLgCFRAVBhUGHAAAAAQAAADAuAIBAcC4AgAVABUaFRos
   FcC4AhUQFQYVBhwAAAAEAAAAwLgCAQHAuAIAFQQZLDUAGAZzY2hlbWEVAgAVDCUCGAR0ZXh0JQBMHAAAABaAtRgZHBkcJgAcFQwZNQAGEBkYBHRl
   eHQVABaAtRgWzgUWzgUmLiYIKSwVBBUAFQIAFQAVEBUUADwWgLUYGQYZJgCAtRgAAAAWzgUWgLUYJggWzgUAKCBwYXJxdWV0LWNwcC1hcnJvdyB2
   ZXJzaW9uIDI1LjAuMRkcHAAAAKAAAABQQVIx`,
  'base64',
);
/** One column of bytes, text, uncompressed: ff fe, 'ok'. */
const NOT_UTF8 = Buffer.from(
  `UEFSMRUEFRgVGEwVBBUAEgAAAgAAAP/+AgAAAG9rFQAVEhUSLBUEFRAVBhUGHAAAAAIAAAAEAQEDAhUEGSw1ABgGc2NoZW1hFQIAFQwlAhgEdGV4
   dAAWBBkcGRwmABwVDBk1AAYQGRgEdGV4dBUAFgQWbBZsJjwmCCksFQQVABUCABUAFRAVAgA8FggZBhkmAAQAAAAWbBYEJggWbAAoIHBhcnF1ZXQt
   Y3BwLWFycm93IHZlcnNpb24gMjUuMC4xGRwcAAAAjAAAAFBBUjE=`,
  'base64',
);

async function texts(path: string, options?: DocumentOptions): Promise<string[]> {
  return (await collect(readDocuments([path], options))).map(({ text }) => text);
}

test('a folder stands for its text files, recursively and sorted, without hidden and other files', async () => {
  const files = {
    'b.md': 'b',
    'a/z.py': 'z',
    'a/B.TXT': 'B',
    'c.jsonl': '',
    'd.parquet': '',
    'e.png': 'e',
    'f.json': 'f',
  };
  await inFolder({ ...files, '.git/x.txt': 'x', 'a/.y.txt': 'y', 'no-extension': 'n' }, async (folder) => {
    const found = await findTextFiles([folder]);
    assert.equal(
      found.map(({ path, format }) => [relative(folder, path), format]),
      [
        ['a/B.TXT', 'text'],
        ['a/z.py', 'text'],
        ['b.md', 'text'],
        ['c.jsonl', 'jsonl'],
        ['d.parquet', 'parquet'],
      ],
    );
    const named = await findTextFiles([join(folder, 'f.json'), join(folder, 'b.md'), folder, join(folder, '.git')]);
    assert.equal(
      named.map(({ path }) => basename(path)),
      ['f.json', 'b.md', 'B.TXT', 'z.py', 'c.jsonl', 'd.parquet', 'x.txt'],
      'a named file counts whatever it is called, and what was found once is not found again',
    );
  });
});

test('links that go round in circles end', async () => {
  await inFolder({ 'a/b/text.txt': 'x' }, async (folder) => {
    await symlink(folder, join(folder, 'a/b/up'));
    await symlink('.', join(folder, 'a/self'));
    await symlink(join(folder, 'a'), join(folder, 'z'));
    assert.equal(await texts(folder), ['x']);
  });
});

test('what cannot be read is a typed error that names it', async () => {
  await inFolder({ 'empty/picture.png': 'x' }, async (folder) => {
    await fails(() => findTextFiles([join(folder, 'missing.txt')]), 'FILE_NOT_FOUND', /missing\.txt/);
    await fails(() => findTextFiles([join(folder, 'empty')]), 'BAD_DATA', /No text was found in .*empty/);
    await fails(() => findTextFiles([]), 'BAD_DATA', /No text/);
    await fails(() => findTextFiles(['/dev/null']), 'BAD_DATA', /neither a file nor a folder/);
    await symlink('nowhere', join(folder, 'empty/broken.txt'));
    await fails(() => findTextFiles([folder]), 'FILE_NOT_FOUND', /broken\.txt/);
  });
});

test('a plain-text file is one document, or one for each paragraph', async () => {
  const text = '\n\none\n  two\n\n \t\n\nthree\r\n\r\nfour\n';
  await inFolder({ 'a.txt': text, 'blank.txt': ' \n\n\t\n' }, async (folder) => {
    assert.equal(await collect(readDocuments([folder])), [{ text, source: join(folder, 'a.txt') }]);
    assert.equal(await texts(folder, { documents: 'paragraph' }), ['one\n  two', 'three', 'four']);
    const wrong = { documents: 'line' } as unknown as DocumentOptions;
    await fails(() => texts(folder, wrong), 'BAD_OPTION', /'file' or 'paragraph', not 'line'/);
  });
});

test('a file larger than what is read at once comes whole, its characters unharmed', async () => {
  // Characters of 1 to 4 bytes and an odd line length, so that reads end within characters and lines.
  const line = 'a é € 😀 Ω\n';
  const text = line.repeat(200_000);
  await inFolder({ 'long.txt': text, 'long-lines.txt': text.replaceAll('\n', '') }, async (folder) => {
    const pieces = await texts(join(folder, 'long.txt'));
    assert.ok(pieces.join('') === text, 'nothing is lost or changed');
    assert.ok(pieces.every((piece) => piece.length <= 2 ** 18 && piece.endsWith('\n')));
    assert.ok((await texts(join(folder, 'long-lines.txt'))).join('') === text.replaceAll('\n', ''));
  });
});

test('paragraphs are the same wherever the reads of a large file end', async () => {
  const paragraphs = Array.from({ length: 30_000 }, (_, index) => `${index} ${'é'.repeat(index % 97)}\nx`);
  await inFolder({ 'a.txt': paragraphs.join('\n \n\n') }, async (folder) => {
    const found = await texts(folder, { documents: 'paragraph' });
    assert.is(found.length, paragraphs.length);
    assert.ok(found.every((text, index) => text === paragraphs[index]));
  });
});

test('text that is not UTF-8 is refused with file and line', async () => {
  const before = 'fine é\n'.repeat(300_000);
  const files = {
    'latin1.txt': Buffer.from('one\ntwo\ncaf\xe9\n', 'latin1'),
    'cut.txt': Buffer.from('one\ncaf\xc3', 'latin1'),
    'far.jsonl': Buffer.concat([Buffer.from(before), Buffer.from([0xff]), Buffer.from('\nx')]),
  };
  await inFolder(files, async (folder) => {
    await fails(() => texts(join(folder, 'latin1.txt')), 'BAD_DATA', /latin1\.txt:3: .*UTF-8/);
    await fails(() => texts(join(folder, 'cut.txt')), 'BAD_DATA', /cut\.txt:2: .*UTF-8/);
    await fails(() => collect(readLines(join(folder, 'far.jsonl'), 100)), 'BAD_DATA', /far\.jsonl:300001: .*UTF-8/);
  });
});

test('a byte order mark is not part of the text', async () => {
  await inFolder({ 'a.txt': '\ufeffone', 'b.jsonl': '\ufeff{"text":"two"}\n' }, async (folder) => {
    assert.equal(await texts(folder), ['one', 'two']);
  });
});

test('each line of a .jsonl file holds a document in a field', async () => {
  const lines = [
    '{"text": "one\\ntwo", "body": "x"}',
    '',
    '{"text": null}',
    '{"text": " "}\r',
    '{"body":"y","text":"three"}',
  ];
  await inFolder({ 'a.jsonl': lines.join('\n') }, async (folder) => {
    const path = join(folder, 'a.jsonl');
    assert.equal(await collect(readDocuments([path])), [
      { text: 'one\ntwo', source: `${path}:1` },
      { text: 'three', source: `${path}:5` },
    ]);
    await fails(
      () => texts(path, { textField: 'body' }),
      'BAD_DATA',
      /a\.jsonl:3: .*'body', found undefined.*\[text\]/,
    );
  });
});

test('a malformed line of a .jsonl file is refused with file and line', async () => {
  const good = '{"text":"x"}\n';
  for (const [bad, message] of [
    ['{"text":', /JSON/],
    ['"text"', /expected a JSON object/],
    ['[1]', /expected a JSON object/],
    ['null', /expected a JSON object/],
    ['{"text":7}', /found number/],
    ['{"content":"x","id":1}', /found undefined.*\[content, id\]/],
    ['{"__proto__":{"text":"x"}}', /found undefined/],
  ] as const) {
    await inFolder({ 'a.jsonl': good + good + bad }, async (folder) => {
      await fails(() => texts(folder), 'BAD_DATA', /a\.jsonl:3: /);
      await fails(() => texts(folder), 'BAD_DATA', message);
    });
  }
  await inFolder({ 'a.jsonl': `short\n${'x'.repeat(50)}` }, async (folder) => {
    await fails(() => collect(readLines(join(folder, 'a.jsonl'), 49)), 'BAD_DATA', /a\.jsonl:2: .*longer than 49/);
    assert.is((await collect(readLines(join(folder, 'a.jsonl'), 50))).length, 2);
  });
});

test('each row of a .parquet file holds a document in a column', async () => {
  const files = { 'a.parquet': SNAPPY_TWO_ROW_GROUPS_DICTIONARY, 'b.parquet': ZSTD_PAGES_V2 };
  await inFolder(files, async (folder) => {
    for (const name of Object.keys(files)) {
      const path = join(folder, name);
      assert.equal(await collect(readDocuments([path])), [
        { text: 'first document', source: `${path}:1` },
        { text: 'zwölf Boxkämpfer', source: `${path}:2` },
        { text: 'first document', source: `${path}:3` },
      ]);
    }
    const path = join(folder, 'a.parquet');
    await fails(() => texts(path, { textField: 'body' }), 'BAD_DATA', /no column 'body'; it has 'id', 'text'/);
    await fails(() => texts(path, { textField: 'id' }), 'BAD_DATA', /'id' does not hold strings/);
  });
  await inFolder({ 'c.parquet': NOT_UTF8 }, async (folder) => {
    await fails(() => texts(folder), 'BAD_DATA', /c\.parquet: row 1 .*not valid UTF-8/);
  });
});

test('a .parquet file cut short anywhere, or with any byte changed, gives documents or a typed error', async () => {
  await inFolder({}, async (folder) => {
    const path = join(folder, 'a.parquet');
    const read = async (bytes: Uint8Array) => {
      await writeFile(path, bytes);
      await texts(path);
    };
    for (let length = 0; length < ZSTD_PAGES_V2.length; length += 3) {
      await fails(() => read(ZSTD_PAGES_V2.subarray(0, length)), 'BAD_DATA', /not a Parquet file that can be read/);
    }
    let caught = 0;
    for (let at = 0; at < ZSTD_PAGES_V2.length; at++) {
      const changed = Uint8Array.from(ZSTD_PAGES_V2);
      changed[at]! ^= 0x10;
      await read(changed).catch((error) => {
        assert.instance(error, BtsError, `byte ${at}: ${error?.stack}`);
        assert.is(error.code, 'BAD_DATA');
        caught++;
      });
    }
    assert.ok(caught > 100);

    // A page of size -24 after a header of 24 bytes would be read again and again.
    const endless = Uint8Array.from(ZSTD_PAGES_V2);
    const header = ZSTD_PAGES_V2.indexOf(Buffer.from([0x15, 0x06, 0x15, 0x78, 0x15, 0x76]));
    endless[header + 5] = 0x2f;
    await fails(() => read(endless), 'BAD_DATA', /sizes that cannot be/);
  });
});

test('texts are cut at blank lines, else lines, else spaces, else between characters, and never lose any', () => {
  assert.equal(cutText('', 10), ['']);
  assert.equal(cutText('short', 10), ['short']);
  assert.equal(cutText('aaaa\n\nbb\ncc', 10), ['aaaa\n\n', 'bb\ncc']);
  assert.equal(cutText('a\n\naaaa\nbb cc', 10), ['a\n\naaaa\n', 'bb cc']);
  assert.equal(cutText('aaaaaa bb\tcc', 10), ['aaaaaa ', 'bb\tcc']);
  assert.equal(cutText('a bbbbbbbbbbbbbb', 10), ['a bbbbbbbb', 'bbbbbb']);
  assert.equal(cutText('aaaaaaaaa😀b', 10), ['aaaaaaaaa', '😀b']);
  const text = 'one two\nthree 😀😀😀😀😀\n\nfour'.repeat(50);
  for (let limit = 2; limit < 40; limit++) {
    const pieces = cutText(text, limit);
    assert.is(pieces.join(''), text);
    assert.ok(pieces.every((piece) => piece.length > 0 && piece.length <= limit && !/\p{Surrogate}/u.test(piece)));
  }
});

test('reading lets other work run in between, even where all is in memory', async () => {
  await inFolder({ 'a.parquet': MANY_ROWS }, async (folder) => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    let documents = 0;
    let turnsAtFirst = 0;
    for await (const _ of readDocuments([folder])) if (++documents === 1) turnsAtFirst = turns;
    clearInterval(timer);
    assert.is(documents, 200_000);
    assert.ok(turns - turnsAtFirst >= 3, `${turns - turnsAtFirst} turns`);
  });
});

test('reading stops when the signal fires', async () => {
  const lines = Array.from({ length: 1000 }, (_, index) => JSON.stringify({ text: `document ${index}` }));
  await inFolder({ 'a.jsonl': lines.join('\n') }, async (folder) => {
    const controller = new AbortController();
    let seen = 0;
    const read = async () => {
      for await (const _ of readDocuments([folder], { signal: controller.signal }))
        if (++seen === 5) controller.abort();
    };
    await fails(read, 'ABORTED', /stopped/);
    assert.is(seen, 5);
  });
});

test.run();
