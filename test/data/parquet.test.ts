import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readDocuments } from '../../lib/data/documents.js';
import { readParquetColumn, readParquetRows } from '../../lib/data/parquet.js';
import { expectRuns } from '../../lib/data/parquet-runs.js';
import { toPlain } from '../../lib/python/plain.js';
import { repr } from '../../lib/python/repr.js';
import { collect, fails, inFolder } from './data-fixtures.js';
import { NULL_GROUPS, TYPES } from './parquet-fixtures.js';

test('pages and row groups without a value are rows of null, whatever compresses them', async () => {
  await inFolder({}, async (folder) => {
    for (const [codec, content] of Object.entries(NULL_GROUPS)) {
      const path = join(folder, `${codec}.parquet`);
      await writeFile(path, Buffer.from(content, 'base64'));
      assert.equal(await collect(readParquetColumn(path, 'text')), ['a', 'b', '', '', 'c', ''], codec);
      const rows = ['a', 'b', null, null, 'c', null].map((text) => ({ text }));
      assert.equal((await readParquetRows(path)).map(toPlain), rows, codec);
      const documents = await collect(readDocuments([path]));
      assert.equal(
        documents.map(({ source }) => source),
        [1, 2, 5].map((row) => `${path}:${row}`),
        codec,
      );
    }
  });
});

test('integers beyond 2^53 keep all digits, and may be told from whole numbers of other columns', async () => {
  await inFolder({ 'a.parquet': TYPES }, async (folder) => {
    const path = join(folder, 'a.parquet');
    const nulls = { list: null, record: null, map: null, text: null };
    const rows = await readParquetRows(path);
    assert.equal(rows.map(toPlain), [
      {
        i32: 1,
        i64: 2n ** 53n + 1n,
        u64: 2n ** 64n - 1n,
        f: 1,
        list: [1, 2n ** 60n, null],
        record: { x: 1, y: 1 },
        map: { a: 7 },
        text: null,
      },
      { i32: null, i64: -3, u64: 0, f: 0.5, ...nulls },
    ]);
    assert.equal(
      rows.map((row) => repr(row)),
      [
        "{'i32': 1, 'i64': 9007199254740993, 'u64': 18446744073709551615, 'f': 1.0, 'list': [1, 1152921504606846976, None], " +
          "'record': {'x': 1, 'y': 1.0}, 'map': {'a': 7}, 'text': None}",
        "{'i32': None, 'i64': -3, 'u64': 0, 'f': 0.5, 'list': None, 'record': None, 'map': None, 'text': None}",
      ],
    );
  });
});

test('a column of text of which all is missing may have no type, other columns are no text', async () => {
  await inFolder({ 'a.parquet': TYPES, 'b.parquet.gz': TYPES }, async (folder) => {
    const path = join(folder, 'a.parquet');
    assert.equal(await collect(readParquetColumn(path, 'text')), ['', '']);
    for (const column of ['i64', 'list', 'record', 'map']) {
      await fails(() => collect(readParquetColumn(path, column)), 'BAD_DATA', /does not hold strings. No column does/);
    }
    await fails(() => collect(readDocuments([join(folder, 'b.parquet.gz')])), 'BAD_DATA', /compressed once more/);
  });
});

test('two columns that are malformed are one error, and no rejection that nobody handles', async () => {
  const file = Buffer.from(TYPES);
  file[4] = 0x1f; // a field of no type, in the first page of i32
  file.set(Buffer.from('x64'), file.lastIndexOf('i64')); // a column that the schema lacks
  await inFolder({ 'a.parquet': file }, async (folder) => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    await fails(() => readParquetRows(join(folder, 'a.parquet')), 'BAD_DATA', /not a Parquet file that can be read/);
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.off('unhandledRejection', note);
    assert.equal(unhandled, []);
  });
});

test('runs that a few bytes say to be of billions are refused, and those that fit end where they end', () => {
  const runs = (...bytes: number[]) => Uint8Array.from(bytes);
  // Four repeated, then eight in a byte of which two count; a length before them.
  assert.is(expectRuns(runs(8, 1, 3, 0xff), 0, 1, 6, 4), 4);
  assert.is(expectRuns(runs(9, 4, 0, 0, 0, 8, 1, 3, 0xff), 1, 1, 6), 9);
  const billions = [0xfe, 0xff, 0xff, 0xff, 0x0f, 1];
  assert.throws(() => expectRuns(runs(...billions), 0, 1, 6, 6), /a run of 2147483647 values stands where 6 are left/);
  assert.throws(() => expectRuns(runs(0xff, ...billions.slice(1)), 0, 0, 6, 6), /values stands where 6 are left/);
});

test.run();
