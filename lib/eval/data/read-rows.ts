import { gunzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { BtsError } from '../../base/errors.js';
import { readAt, withFile } from '../../base/file.js';
import { describeLfsPointer } from '../../base/json.js';
import { readParquetRows } from '../../data/parquet.js';
import { jsonLoads } from '../../python/json.js';
import { toPlain } from '../../python/plain.js';
import { Dict, PythonError, type Value } from '../../python/values.js';

const MAX_FILE_BYTES = 2 ** 30;

export interface Row<T = unknown> {
  value: T;
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
  const values = await readValues<unknown>(path, { json: JSON.parse, parquet: toPlain });
  return values.map((value, i) => ({ value, source: `${path}:${i + 1}` }));
}

/** The rows of a file as Python has them: integers with all their digits and apart from floats. Throws as `readRows` does. */
export async function readExactRows(path: string): Promise<Row<Value>[]> {
  const values = await readValues<Value>(path, { json: jsonLoads, parquet: (row) => row });
  return values.map((value, i) => ({ value, source: `${path}:${i + 1}` }));
}

/** How values are made of what a file says. */
interface Form<T> {
  json: (text: string) => T;
  parquet: (row: Dict) => T;
}

async function readValues<T>(path: string, form: Form<T>): Promise<(T | string | string[])[]> {
  const name = path.toLowerCase().replace(/\.gz$/, '');
  if (name.endsWith('.parquet')) return (await readParquetRows(path)).map(form.parquet);
  const text = await readText(path);
  const lines = () => text.replace(/\n$/, '').split('\n');
  if (name.endsWith('.jsonl') || name.endsWith('.ndjson')) {
    return lines().flatMap((line, i) => (line.trim() ? [readJson(line, form, `${path}:${i + 1}`)] : []));
  }
  if (name.endsWith('.json')) return listIn(readJson(text, form, path), path);
  if (name.endsWith('.csv')) return parseFields(text, path, { delimiter: ',' });
  if (name.endsWith('.tsv')) return parseFields(text, path, { delimiter: '\t', quote: false });
  return lines();
}

async function readText(path: string): Promise<string> {
  const bytes = await withFile(path, (file, size) => {
    if (size > MAX_FILE_BYTES) throw new BtsError('BAD_DATA', `'${path}' has ${size} bytes: too many for a benchmark.`);
    return readAt(file, 0, size);
  });
  const pointer = describeLfsPointer(bytes);
  if (pointer) throw new BtsError('BAD_DATA', `'${path}' ${pointer}.`);
  try {
    const plain = path.toLowerCase().endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: MAX_FILE_BYTES }) : bytes;
    return new TextDecoder('utf-8', { fatal: true }).decode(plain);
  } catch (cause) {
    throw new BtsError('BAD_DATA', `'${path}' is not text in UTF-8: ${(cause as Error).message}.`, { cause });
  }
}

function readJson<T>(text: string, { json }: Form<T>, source: string): T {
  try {
    return json(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof PythonError)) throw cause;
    throw new BtsError('BAD_DATA', `${source} is not JSON: ${cause.message}.`, { cause });
  }
}

function parseFields(text: string, path: string, options: { delimiter: string; quote?: false }): string[][] {
  try {
    return parse(text, { ...options, relax_column_count: true });
  } catch (cause) {
    throw new BtsError('BAD_DATA', `'${path}' cannot be read as a table: ${(cause as Error).message}.`, { cause });
  }
}

function listIn<T>(content: T, path: string): T[] {
  if (Array.isArray(content)) return content;
  if (content !== null && typeof content === 'object') {
    const values: unknown[] = content instanceof Dict ? content.values() : Object.values(content);
    const lists = values.filter(Array.isArray);
    if (lists.length === 1) return lists[0]!;
    if (lists.length === 0) return [content];
  }
  throw new BtsError(
    'BAD_DATA',
    `'${path}' holds neither rows nor one row: a list or an object with one was expected.`,
  );
}
