import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readDocuments } from '../../lib/data/documents.js';
import { readParquetColumn, readParquetRows } from '../../lib/data/parquet.js';
import { toPlain } from '../../lib/python/plain.js';
import { repr } from '../../lib/python/repr.js';
import { collect, fails, inFolder } from './data-fixtures.js';

/** One column, text: three row groups, 'a' and 'b', null and null, 'c' and null. */
const NULL_GROUPS = {
  /** Pages of version 2 that have no byte for the values of the second group, though they are said to be compressed. */
  snappy: `UEFSMRUGFRgVGlwVBBUAFQQVABUEFQAAAAMDChABAAAAYQEFAGIVBhUEFQRcFQQVBBUEFQAVBBUAAAADABUGFQ4VElwVBBUCFQQVABUEFQAAAAMBBRAB
   AAAAYxUEGSxIBHJvb3QVAgAVDCUCGAR0ZXh0JQAAFgwZPBkcJggcFQwZFQAZGAR0ZXh0FQIWBBZCFkQmCAAAFkIWBDZEABkcJkwcFQwZFQAZGAR0ZXh0
   FQIWBBYuFi4mTAAAFi4WBDYuABkcJnocFQwZFQAZGAR0ZXh0FQIWBBY4FjwmegAAFjgWBDY8ACgJaHlwYXJxdWV0GRwcAAAAmwAAAFBBUjE=`,
  brotli: `UEFSMRUGFRgVIFwVBBUAFQQVABUEFQAAAAMDiwSAAQAAAGEBAAAAYgMVBhUEFQRcFQQVBBUEFQAVBBUAAAADABUGFQ4VFlwVBBUCFQQVABUEFQAAAAMB
   CwKAAQAAAGMDFQQZLEgEcm9vdBUCABUMJQIYBHRleHQlAAAWDBk8GRwmCBwVDBkVABkYBHRleHQVCBYEFkIWSiYIAAAWQhYENkoAGRwmUhwVDBkVABkY
   BHRleHQVCBYEFi4WLiZSAAAWLhYENi4AGRwmgAEcFQwZFQAZGAR0ZXh0FQgWBBY4FkAmgAEAABY4FgQ2QAAoCWh5cGFycXVldBkcHAAAAJ0AAABQQVIx`,
  /** By pyarrow, with dictionaries: that of the second group has no entry. */
  gzip: `UEFSMRUEFRQVOEwVBBUAEgAAH4sIAAAAAAACA2NkYGBIZAQSSQBz9jxRCgAAABUAFRIVOiwVBBUQFQYVBhwAAAAfiwgAAAAAAAIDY2JgYGBhZGRmAgBV
   pSJBCQAAABUEFQAVKEwVABUAEgAAH4sIAAAAAAACAwMAAAAAAAAAAAAVABUOFTYsFQQVEBUGFQYcAAAAH4sIAAAAAAACA2NiYGBgYWAAAItm+g0HAAAA
   FQQVChUyTBUCFQASAAAfiwgAAAAAAAIDY2RgYEgGAE/u+S8FAAAAFQAVEhU6LBUEFRAVBhUGHAAAAB+LCAAAAAAAAgNjYmBgYGZkZGIAACgpFwQJAAAA
   FQQZLDUAGAZzY2hlbWEVAgAVDCUCGAR0ZXh0JQBMHAAAABYMGTwZHCYAHBUMGTUABhAZGAR0ZXh0FQQWBBZoFrQBJlwmCCksFQQVABUCABUAFRAVAgA8
   FgQZBhkmAAQAAAAWaBYEJggWtAEAGRwmABwVDBk1AAYQGRgEdGV4dBUEFgQWUBagASaAAia8ASksFQQVABUCABUAFRAVAgA8FgAZBhkmBAAAAAAWUBYE
   JrwBFqABABkcJgAcFQwZNQAGEBkYBHRleHQVBBYEFl4WrgEmqgMm3AIpLBUEFQAVAgAVABUQFQIAPBYCGQYZJgICAAAAFl4WBCbcAhauAQAoIHBhcnF1
   ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGRwcAAAAJgEAAFBBUjE=`,
  lz4: `UEFSMRUEFRQVFkwVBBUAEgAAoAEAAABhAQAAAGIVABUSFRQsFQQVEBUGFQYcAAAAkAIAAAAEAQEDAhUEFQAVAkwVABUAEgAAABUAFQ4VECwVBBUQFQYV
   BhwAAABwAgAAAAQAABUEFQoVDEwVAhUAEgAAUAEAAABjFQAVEhUULBUEFRAVBhUGHAAAAJACAAAAAwEBAgAVBBksNQAYBnNjaGVtYRUCABUMJQIYBHRl
   eHQlAEwcAAAAFgwZPBkcJgAcFQwZNQAGEBkYBHRleHQVDhYEFmgWbCY6JggpLBUEFQAVAgAVABUQFQIAPBYEGQYZJgAEAAAAFmgWBCYIFmwAGRwmABwV
   DBk1AAYQGRgEdGV4dBUOFgQWUBZUJpIBJnQpLBUEFQAVAgAVABUQFQIAPBYAGQYZJgQAAAAAFlAWBCZ0FlQAGRwmABwVDBk1AAYQGRgEdGV4dBUOFgQW
   XhZiJvABJsgBKSwVBBUAFQIAFQAVEBUCADwWAhkGGSYCAgAAABZeFgQmyAEWYgAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGRwcAAAA
   HgEAAFBBUjE=`,
  zstd: `UEFSMRUEFRQVJkwVBBUAEgAAKLUv/SAKUQAAAQAAAGEBAAAAYhUAFRIVJCwVBBUQFQYVBhwAAAAotS/9IAlJAAACAAAABAEBAwIVBBUAFRJMFQAVABIA
   ACi1L/0gAAEAABUAFQ4VICwVBBUQFQYVBhwAAAAotS/9IAc5AAACAAAABAAAFQQVChUcTBUCFQASAAAotS/9IAUpAAABAAAAYxUAFRIVJCwVBBUQFQYV
   BhwAAAAotS/9IAlJAAACAAAAAwEBAgAVBBksNQAYBnNjaGVtYRUCABUMJQIYBHRleHQlAEwcAAAAFgwZPBkcJgAcFQwZNQAGEBkYBHRleHQVDBYEFmgW
   jAEmSiYIKSwVBBUAFQIAFQAVEBUCADwWBBkGGSYABAAAABZoFgQmCBaMAQAZHCYAHBUMGTUABhAZGAR0ZXh0FQwWBBZQFnQmwgEmlAEpLBUEFQAVAgAV
   ABUQFQIAPBYAGQYZJgQAAAAAFlAWBCaUARZ0ABkcJgAcFQwZNQAGEBkYBHRleHQVDBYEFl4WggEmwAImiAIpLBUEFQAVAgAVABUQFQIAPBYCGQYZJgIC
   AAAAFl4WBCaIAhaCAQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGRwcAAAAJAEAAFBBUjE=`,
  uncompressed: `UEFSMRUEFRQVFEwVBBUAEgAAAQAAAGEBAAAAYhUGFQoVClwVBBUAFQQVEBUEFQASHAAAAAQBAQMCFQQVABUATBUAFQASAAAVBhUGFQZcFQQVBBUEFRAV
   BBUAEhwAAAAEAAAVBBUKFQpMFQIVABIAAAEAAABjFQYVChUKXBUEFQIVBBUQFQQVABIcAAAAAwEBAgAVBBksNQAYBnNjaGVtYRUCABUMJQIYBHRleHQl
   AEwcAAAAFgwZPBkcJgAcFQwZNQAGEBkYBHRleHQVABYEFmoWaiY4JggpLBUEFQAVAgAVABUQFQIAPBYEGQYZJgAEAAAAFmoWBCYIFmoAGRwmABwVDBk1
   AAYQGRgEdGV4dBUAFgQWUhZSJo4BJnIpLBUEFQAVAgAVABUQFQIAPBYAGQYZJgQAAAAAFlIWBCZyFlIAGRwmABwVDBk1AAYQGRgEdGV4dBUAFgQWYBZg
   JuoBJsQBKSwVBBUAFQIAFQAVEBUCADwWAhkGGSYCAgAAABZgFgQmxAEWYAAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGRwcAAAAHgEA
   AFBBUjE=`,
};

/**
 * By pyarrow, two rows: i32 int32, i64 int64, u64 uint64, f double, list of int64, record of x int32 and y float, map of string
 * to int64, text of the type null.
 */
const TYPES = Buffer.from(
  `UEFSMRUAFRQVJiwVBBUAFQYVBhwAAAAotS/9IApRAAACAAAAAwEBAAAAFQAVLBU+LBUEFQAVBhUGHAAAACi1L/0gFrEAAAIAAAAEAQEAAAAAACAA/f//
   //////8VABUsFT4sFQQVABUGFQYcAAAAKLUv/SAWsQAAAgAAAAQB//////////8AAAAAAAAAABUAFSwVPiwVBBUAFQYVBhwAAAAotS/9IBaxAAACAAAA
   BAEAAAAAAADwPwAAAAAAAOA/FQAVOhU+LBUIFQAVBhUGHAAAACi1L/0gHbUAAIACAAAAAwYDAAAAAy8AAQAQAQAHqAMVABUWFSgsFQQVABUGFQYcAAAA
   KLUv/SALWQAAAwAAAAMCAAEAAAAVABUWFSgsFQQVABUGFQYcAAAAKLUv/SALWQAAAwAAAAMCAAAAgD8VABUkFTYsFQQVABUGFQYcAAAAKLUv/SASkQAA
   AgAAAAQAAwAAAAMCAAEAAABhFQAVKhU8LBUEFQAVBhUGHAAAACi1L/0gFakAAAIAAAAEAAMAAAADAwAHAAAAAAAAABUAFQwVHiwVBBUAFQYVBhwAAAAo
   tS/9IAYxAAACAAAABAAVBBn8EDUAGAZzY2hlbWEVEAAVAiUCGANpMzIAFQQlAhgDaTY0ABUEJQIYA3U2NCUcTKwTQBIAAAAVCiUCGAFmADUCGARsaXN0
   FQIVBkw8AAAANQQYBGxpc3QVAgAVBCUCGAdlbGVtZW50ADUCGAZyZWNvcmQVBAAVAiUCGAF4ABUIJQIYAXkANQIYA21hcBUCFQJMLAAAADUEGAlrZXlf
   dmFsdWUVBAAVDCUAGANrZXklAEwcAAAAFQQlAhgFdmFsdWUAFQIlAhgEdGV4dGy8AAAAFgQZHBmsJgAcFQIZJQYAGRgDaTMyFQwWBBY6FkwmCEkcFQAV
   ABUCADwpBhkmAgIAAAAmABwVBBklBgAZGANpNjQVDBYEFlIWZCZUSRwVABUAFQIAPCkGGSYABAAAACYAHBUEGSUGABkYA3U2NBUMFgQWUhZkJrgBSRwV
   ABUAFQIAPCkGGSYABAAAACYAHBUKGSUGABkYAWYVDBYEFlIWZCacAkkcFQAVABUCADwpBhkmAAQAAAAmABwVBBklBgAZOARsaXN0BGxpc3QHZWxlbWVu
   dBUMFggWYBZkJoADSRwVABUAFQIAPCkmBAQZRgIAAgQAAAAmABwVAhklBgAZKAZyZWNvcmQBeBUMFgQWPBZOJuQDSRwVABUAFQIAPCkGGTYCAAIAAAAm
   ABwVCBklBgAZKAZyZWNvcmQBeRUMFgQWPBZOJrIESRwVABUAFQIAPCkGGTYCAAIAAAAmABwVDBklBgAZOANtYXAJa2V5X3ZhbHVlA2tleRUMFgQWShZc
   JoAFSRwVABUAFQIAPBYCGSYEABk2AgACAAAAJgAcFQQZJQYAGTgDbWFwCWtleV92YWx1ZQV2YWx1ZRUMFgQWUBZiJtwFSRwVABUAFQIAPCkmBAAZRgIA
   AAIAAAAmABwVAhklBgAZGAR0ZXh0FQwWBBYyFkQmvgZJHBUAFQAVAgA8KQYZJgQAAAAAFtQFFgQmCBb6BgAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNp
   b24gMjUuMC4xGawcAAAcAAAcAAAcAAAcAAAcAAAcAAAcAAAcAAAcAAAAKwMAAFBBUjE=`,
  'base64',
);

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

test.run();
