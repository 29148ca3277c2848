import { gunzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { readAt, withFile } from '../../checkpoint/file.js';
import { readParquetObjects } from '../../data/parquet.js';
import { BtsError } from '../../errors.js';

const MAX_FILE_BYTES = 2 ** 30;

export interface Row {
  value: unknown;
  /** The file and the row, counted from 1: `test.jsonl:12`. */
  source: string;
}

/**
 * The rows of a file, by its name: .jsonl one object a line; .json a list, an object with one list in it, or one row; .csv and .tsv
 * lists of fields without a header; .parquet objects; other files their lines. Any but .parquet may end in .gz.
 *
 * Throws BAD_DATA naming file and line; FILE_NOT_FOUND, FILE_IO.
 */
export async function readRows(path: string): Promise<Row[]> {
  const values = await readValues(path);
  return values.map((value, i) => ({ value, source: `${path}:${i + 1}` }));
}

async function readValues(path: string): Promise<unknown[]> {
  const name = path.toLowerCase().replace(/\.gz$/, '');
  if (name.endsWith('.parquet')) return readParquetObjects(path);
  const text = await readText(path);
  const lines = () => text.replace(/\n$/, '').split('\n');
  if (name.endsWith('.jsonl') || name.endsWith('.ndjson')) {
    return lines().flatMap((line, i) => (line.trim() ? [parseJson(line, `${path}:${i + 1}`)] : []));
  }
  if (name.endsWith('.json')) return listIn(parseJson(text, path), path);
  if (name.endsWith('.csv')) return parseFields(text, path, { delimiter: ',' });
  if (name.endsWith('.tsv')) return parseFields(text, path, { delimiter: '\t', quote: false });
  return lines();
}

async function readText(path: string): Promise<string> {
  const bytes = await withFile(path, (file, size) => {
    if (size > MAX_FILE_BYTES) throw new BtsError('BAD_DATA', `'${path}' has ${size} bytes: too many for a benchmark.`);
    return readAt(file, 0, size);
  });
  try {
    const plain = path.toLowerCase().endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: MAX_FILE_BYTES }) : bytes;
    return new TextDecoder('utf-8', { fatal: true }).decode(plain);
  } catch (cause) {
    throw new BtsError('BAD_DATA', `'${path}' is not text in UTF-8: ${(cause as Error).message}.`, { cause });
  }
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BtsError('BAD_DATA', `${source} is not JSON: ${(cause as Error).message}.`, { cause });
  }
}

function parseFields(text: string, path: string, options: { delimiter: string; quote?: false }): unknown[] {
  try {
    return parse(text, { ...options, relax_column_count: true });
  } catch (cause) {
    throw new BtsError('BAD_DATA', `'${path}' cannot be read as a table: ${(cause as Error).message}.`, { cause });
  }
}

function listIn(content: unknown, path: string): unknown[] {
  if (Array.isArray(content)) return content;
  const lists = Object.values(content ?? {}).filter(Array.isArray);
  if (lists.length === 1) return lists[0]!;
  if (lists.length === 0 && content !== null && typeof content === 'object') return [content];
  throw new BtsError(
    'BAD_DATA',
    `'${path}' holds neither rows nor one row: a list or an object with one was expected.`,
  );
}
