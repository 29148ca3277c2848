import { readParquetColumn, readParquetRows } from '../../../lib/data/parquet.js';
import { collect } from '../../data/data-fixtures.js';
import { NULL_GROUPS, TYPES } from '../../data/parquet-fixtures.js';
import { expectTyped, put, type Target } from '../target.js';

export const target: Target = {
  words: ['PAR1', 'text', 'list', 'element', 'key_value'],
  seeds: () => [TYPES, ...Object.values(NULL_GROUPS).map((content) => Buffer.from(content, 'base64'))],
  async run(data, folder) {
    const path = await put(folder, 'a.parquet', data);
    await expectTyped(['BAD_DATA'], () => collect(readParquetColumn(path, 'text')));
    await expectTyped(['BAD_DATA'], () => readParquetRows(path));
  },
};
