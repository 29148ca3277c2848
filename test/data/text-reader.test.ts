/** Text in other encodings and compressions than plain UTF-8. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readDocuments } from '../../lib/data/documents.js';
import { findTextFiles } from '../../lib/data/text-files.js';
import { readLines, readText } from '../../lib/data/text-reader.js';
import { readRows } from '../../lib/eval/data/read-rows.js';
import { collect, fails, inFolder } from './data-fixtures.js';

const LINE = 'a é € 😀 Ω\n';
/** `LINE` 20,000 times, which is three blocks, by `zstd -19` and by `zstd` from a pipe, with their checksums. */
const ZSTD = Buffer.from(
  'KLUv/aQgMAUAzAAAiGEgw6kg4oKsIPCfmIAgzqkKAQDZ/ymfS0QAAAABAP3/lE8gRQAAAAEAHTA5AAJJuxHT',
  'base64',
);
const ZSTD_PIPED = Buffer.from(
  'KLUv/QRYzAAAiGEgw6kg4oKsIPCfmIAgzqkKAQDZ/ymfS0wAAAjDAQD8/zkQAk0AAAggAQAcMDkQAkm7EdM=',
  'base64',
);
const XZ = Buffer.from(
  '/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAOeyJ0ZXh0Ijoib25lIn0KAAD3MHQ+kTDtagABJw/fGvxqH7bzfQEAAAAABFla',
  'base64',
);
const BZIP2 = Buffer.from('QlpoOTFBWSZTWXdLsBQAAAAAgABAIAAhGEaC7kinChIO6XYCgA==', 'base64');
const LZ4 = Buffer.from('BCJNGGRApwEAAIB4AAAAAOowxC4=', 'base64');

async function textOf(path: string): Promise<string> {
  return (await collect(readText(path))).join('');
}

/** What `readText` gives for a file with this content. */
async function read(content: Uint8Array | string, name = 'a.txt'): Promise<string> {
  let text = '';
  await inFolder({ [name]: content }, async (folder) => {
    text = await textOf(join(folder, name));
  });
  return text;
}

const utf16le = (text: string) => Buffer.from(text, 'utf16le');
const utf16be = (text: string) => utf16le(text).swap16();

test('UTF-16 with a byte order mark is read, in either order and over any number of chunks', async () => {
  for (const text of ['h', 'hello\nworld\n', LINE.repeat(20_000), '中文\n'.repeat(50_000)]) {
    assert.ok((await read(utf16le(`\ufeff${text}`))) === text);
    assert.ok((await read(utf16be(`\ufeff${text}`))) === text);
  }
  // An odd number of bytes before each pair of surrogates, so that chunks end within pairs.
  const pairs = `x${'😀'.repeat(60_000)}`;
  assert.ok((await read(utf16be(`\ufeff${pairs}`))) === pairs);
  assert.is(await read(utf16le('\ufeff')), '');
  const json = utf16le('\ufeff{"text":"one"}\r\n{"text":"two"}\r\n');
  await inFolder({ 'a.jsonl': json, 'b.jsonl.gz': gzipSync(json) }, async (folder) => {
    const texts = (await collect(readDocuments([folder]))).map(({ text }) => text);
    assert.equal(texts, ['one', 'two', 'one', 'two']);
  });
});

test('what is not valid UTF-16 is refused with file and line', async () => {
  for (const encode of [utf16le, utf16be]) {
    const name = encode === utf16le ? 'UTF-16LE' : 'UTF-16BE';
    const message = (line: number) => new RegExp(`a\\.txt:${line}: the text is not valid ${name}`);
    await fails(() => read(encode('\ufeffone\ntwo\ud800\n')), 'BAD_DATA', message(2));
    await fails(() => read(encode(`\ufeff${'one\n'.repeat(100_000)}\udc00`)), 'BAD_DATA', message(100_001));
    await fails(() => read(Buffer.concat([encode('\ufeffone\ntwo\n'), Buffer.from('x')])), 'BAD_DATA', message(3));
    await fails(() => read(encode('\ufeffone\ud83d')), 'BAD_DATA', message(1));
  }
});

test('UTF-16 and UTF-32 without a byte order mark, and UTF-32 with one, are refused by name', async () => {
  const texts = [
    'hi',
    'hello world\n',
    'Привет, мир\n',
    'Καλημέρα κόσμε, τι κάνεις;\n',
    'नमस्ते दुनिया, आप कैसे हैं?\n',
    'שלום עולם\n',
    'a 中 b\n',
    LINE.repeat(20_000),
  ];
  for (const text of texts) {
    await fails(() => read(utf16le(text)), 'BAD_DATA', /byte order mark that looks like UTF-16LE.*iconv -f UTF-16LE/);
    await fails(() => read(utf16be(text)), 'BAD_DATA', /byte order mark that looks like UTF-16BE.*iconv -f UTF-16BE/);
    const littleEndian = Buffer.from(Uint32Array.from(text, (character) => character.codePointAt(0)!).buffer);
    const bigEndian = Buffer.from(littleEndian).swap32();
    await fails(() => read(littleEndian), 'BAD_DATA', /looks like UTF-32LE/);
    await fails(() => read(bigEndian), 'BAD_DATA', /looks like UTF-32BE/);
    const marks = [Buffer.from([0xff, 0xfe, 0, 0]), Buffer.from([0, 0, 0xfe, 0xff])];
    await fails(() => read(Buffer.concat([marks[0]!, littleEndian])), 'BAD_DATA', /text in UTF-32LE/);
    await fails(() => read(Buffer.concat([marks[1]!, bigEndian])), 'BAD_DATA', /text in UTF-32BE/);
  }
  for (const text of ['{"text":"one"}\n', '[{"text":"one"}]']) {
    for (const name of ['a.jsonl', 'a.json', 'a.txt']) {
      await fails(() => read(utf16le(text), name), 'BAD_DATA', /UTF-16LE/);
      await fails(() => read(gzipSync(utf16le(text)), name), 'BAD_DATA', /UTF-16LE/);
    }
  }
  // Chinese is not valid UTF-8 if it is read as such.
  await fails(() => read(utf16le('中文維基百科'.repeat(20))), 'BAD_DATA', /not valid UTF-8/);
});

test('the order of UTF-16 is told by its blanks where the characters look like either', async () => {
  const chinese = '你好世界今天天气很好\n'.repeat(200);
  await fails(() => read(utf16le(chinese)), 'BAD_DATA', /looks like UTF-16LE/);
  await fails(() => read(utf16be(chinese)), 'BAD_DATA', /looks like UTF-16BE/);
});

test('a Git LFS pointer is not read as text', async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`;
  for (const name of ['a.txt', 'a.jsonl', 'a.json', 'a.parquet', 'a.txt.gz']) {
    await inFolder({ [name]: pointer }, async (folder) => {
      const path = join(folder, name);
      const said = /is a Git LFS pointer.*12345 bytes.*git lfs pull/;
      await fails(() => collect(readDocuments([path])), 'BAD_DATA', said);
      await fails(() => readRows(path), 'BAD_DATA', said);
    });
  }
});

test('UTF-8 with control characters is text', async () => {
  const ansi = '\u001b[1mbold\u001b[0m '.repeat(100);
  for (const text of ['hello\0', 'a\0b', `${LINE}\0\0`, '\f\ttab\u000b\r\n', ansi, '\u0001\u0002\u0003\u0004', '\0']) {
    assert.is(await read(text), text, JSON.stringify(text));
  }
});

test('bytes of Latin-1 are refused with file, line and what to do', async () => {
  const latin1 = Buffer.from('one\ncaf\xe9\n', 'latin1');
  await fails(() => read(latin1), 'BAD_DATA', /a\.txt:2: .*not valid UTF-8.*iconv -f LATIN1 -t UTF-8/);
  await fails(() => read(gzipSync(latin1), 'a.txt.gz'), 'BAD_DATA', /a\.txt\.gz:2: .*not valid UTF-8/);
});

test('gzip and Zstandard are read by their first bytes, whatever the name, one stream or several', async () => {
  const text = LINE.repeat(20_000);
  const gzip = gzipSync(text);
  for (const name of ['a.txt.gz', 'a.txt.zst', 'a.txt', 'a.GZ', 'a']) {
    assert.ok((await read(gzip, name)) === text, name);
    assert.ok((await read(ZSTD, name)) === text, name);
    assert.ok((await read(ZSTD_PIPED, name)) === text, name);
    assert.is(await read(LINE, name), LINE, 'what was decompressed on the way');
  }
  assert.ok((await read(Buffer.concat([gzip, gzip]))) === text + text);
  assert.ok((await read(Buffer.concat([ZSTD, ZSTD_PIPED]))) === text + text);
  const skipped = Buffer.from('502a4d1803000000010203', 'hex');
  assert.ok((await read(Buffer.concat([skipped, ZSTD, skipped]))) === text);
  assert.is(await read(gzipSync('')), '');
  assert.is(await read(gzipSync('\ufeffhi')), 'hi');
});

test('compressed files in a folder are read as what is in them', async () => {
  const files = {
    'a.jsonl.gz': gzipSync('{"text":"one"}\n'),
    'b.txt.gz': gzipSync('two'),
    'c.md.zst': ZSTD,
    'd.tar.gz': gzipSync('archive'),
    'e.gz': gzipSync('what?'),
    'f.png.gz': gzipSync('picture'),
  };
  await inFolder(files, async (folder) => {
    const found = await findTextFiles([folder]);
    assert.equal(
      found.map(({ path, format }) => [path.slice(folder.length + 1), format]),
      [
        ['a.jsonl.gz', 'jsonl'],
        ['b.txt.gz', 'text'],
        ['c.md.zst', 'text'],
      ],
    );
    const documents = await collect(readDocuments([folder]));
    assert.equal(documents[0], { text: 'one', source: `${join(folder, 'a.jsonl.gz')}:1` });
    assert.equal(documents[1], { text: 'two', source: join(folder, 'b.txt.gz') });
    const rest = documents.slice(2).map(({ text }) => text);
    assert.ok(rest.join('') === LINE.repeat(20_000));
    assert.equal((await collect(readLines(join(folder, 'c.md.zst'), 100))).length, 20_000);
  });
});

test('other compressions and kinds of files are refused with what to do', async () => {
  const tar = Buffer.alloc(1024);
  tar.write('a.txt');
  tar.write('ustar', 257);
  for (const [content, name, message] of [
    [XZ, 'a.jsonl.xz', /a\.jsonl\.xz' is compressed with xz.*xz -d/],
    [BZIP2, 'a.txt.bz2', /compressed with bzip2.*bzip2 -d/],
    [LZ4, 'a.txt.lz4', /compressed with lz4.*lz4 -d/],
    [XZ, 'a.txt', /compressed with xz/],
    [gzipSync(gzipSync('x')), 'a.txt.gz', /compressed twice/],
    [Buffer.from('0b028078033a', 'hex'), 'a.txt.br', /brotli -d/],
    [Buffer.from('1f9d900a', 'hex'), 'a.txt.Z', /gzip -d/],
    [Buffer.from('504b0304140000', 'hex'), 'a.zip', /zip archive.*unpack/],
    [tar, 'a.tar', /tar archive.*unpack/],
    [gzipSync(tar), 'a.tar.gz', /tar archive.*unpack/],
    [Buffer.from('PAR1\u0015\u0004'), 'a.txt', /Parquet file.*\.parquet/],
    ['%PDF-1.7\n', 'a.txt', /PDF.*pdftotext/],
  ] as const) {
    await fails(() => read(content, name), 'BAD_DATA', message);
  }
  // In a folder, too, rather than to leave out what is meant to be read.
  await inFolder({ 'a.txt': 'x', 'b.jsonl.xz': XZ }, async (folder) => {
    await fails(() => collect(readDocuments([folder])), 'BAD_DATA', /b\.jsonl\.xz' is compressed with xz/);
  });
});

test('damaged and cut compressed files are refused', async () => {
  const noise = Array.from({ length: 50_000 }, (_, i) => Math.imul(i, 2654435761) >>> 0).join(' ');
  const gzip = gzipSync(noise);
  const changed = Buffer.from(gzip);
  changed[changed.length - 8]! ^= 1;
  await fails(() => read(gzip.subarray(0, 100_000)), 'BAD_DATA', /a\.txt' cannot be decompressed.*Fetch it again/);
  await fails(() => read(changed), 'BAD_DATA', /cannot be decompressed/);
  for (const bytes of [5, 12, 30, ZSTD.length - 2]) {
    await fails(() => read(ZSTD.subarray(0, bytes)), 'BAD_DATA', /cannot be decompressed/);
  }
});

test('bombs are refused: what is no text by its ratio, blocks that are too large, windows that take all memory', async () => {
  const block = (bytes: number, isLast: boolean): Buffer => {
    const header = Buffer.alloc(4, 'a');
    header.writeUIntLE((bytes << 3) | 2 | Number(isLast), 0, 3);
    return header;
  };
  const frame = (windowByte: number) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, windowByte]);
  const repeated = (bytes: number, blocks: number) =>
    Buffer.concat([frame(56), ...Array(blocks).fill(block(bytes, false)), block(bytes, true)]);
  assert.ok((await read(repeated(1000, 2))) === 'a'.repeat(3000));
  await fails(() => read(repeated(2 ** 17, 2 ** 13)), 'BAD_DATA', /unfolds into more than 200 times its size/);
  await fails(() => read(repeated(2 ** 20, 2)), 'BAD_DATA', /larger than blocks can be/);
  const window = Buffer.concat([frame((31 - 10) << 3), block(1, true)]);
  await fails(() => read(window), 'BAD_DATA', /takes 2147483648 bytes of memory.*zstd -d --long=31/);
});

test('decompressing lets other work run in between', async () => {
  await inFolder({ 'a.zst': Buffer.concat(Array(40).fill(ZSTD)) }, async (folder) => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const text = await textOf(join(folder, 'a.zst'));
    clearInterval(timer);
    assert.is(text.length, 40 * 20_000 * LINE.length);
    assert.ok(turns >= 3, `${turns} turns`);
  });
});

test.run();
