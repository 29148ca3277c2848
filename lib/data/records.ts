import { BtsError } from '../base/errors.js';
import { parseJsonText } from '../base/json.js';
import { show } from '../base/show.js';
import { uncompressedName } from './compressed.js';
import { type JsonText, readJsonValues } from './json-values.js';
import { readParquetColumn } from './parquet.js';
import { readLines } from './text-reader.js';

/** The text of one record. */
export interface RecordText {
  text: string;
  /** The file, and the line or row counted from 1: `train.jsonl:12`. */
  source: string;
}

/** A record has to be parsed as a whole. */
const MAX_RECORD_CHARACTERS = 2 ** 26;

/** A .jsonl file: an object a line, the text of which is in a field. @throws BAD_DATA, FILE_NOT_FOUND, FILE_IO */
export async function* readJsonLines(path: string, field: string): AsyncGenerator<RecordText> {
  let number = 0;
  for await (const line of readLines(path, MAX_RECORD_CHARACTERS)) {
    number++;
    if (!line.trim()) continue;
    const source = `${path}:${number}`;
    const record = parse(line, source, 'Each line must be a JSON object.');
    if (!isObject(record)) throw notText(record, source, 'a JSON object');
    yield { text: textIn(record, field, source), source };
  }
}

/**
 * A .json file: a list of objects or strings; one object, which may have the list in one of its fields; or one object after
 * another. @throws BAD_DATA, FILE_NOT_FOUND, FILE_IO
 */
export async function* readJsonFile(path: string, field: string): AsyncGenerator<RecordText> {
  for await (const value of readJsonValues(path, MAX_RECORD_CHARACTERS)) yield* textsOf(value, field, path);
}

/** A .parquet file: each row's value in a column. @throws BAD_DATA, FILE_NOT_FOUND, FILE_IO */
export async function* readParquetRows(path: string, column: string): AsyncGenerator<RecordText> {
  if (uncompressedName(path) !== path) {
    throw new BtsError('BAD_DATA', `'${path}' is a Parquet file that was compressed once more. Decompress it first.`);
  }
  let row = 0;
  for await (const text of readParquetColumn(path, column)) yield { text, source: `${path}:${++row}` };
}

function* textsOf({ json, line }: JsonText, field: string, path: string): Generator<RecordText> {
  const source = `${path}:${line}`;
  const value = parse(json, source, 'To train on a JSON file as it stands, let its name end in .txt.');
  for (const record of listIn(value, field) ?? [value]) yield { text: textOf(record, field, source), source };
}

/** The records of an object that has a list of them in place of the field. */
function listIn(value: unknown, field: string): unknown[] | undefined {
  if (!isObject(value) || Object.hasOwn(value, field)) return undefined;
  const lists = Object.values(value).filter(Array.isArray);
  return lists.length === 1 ? lists[0] : undefined;
}

function parse(json: string, source: string, advice: string): unknown {
  try {
    return parseJsonText(json);
  } catch (error) {
    throw new BtsError('BAD_DATA', `${source}: ${(error as Error).message}. ${advice}`, { cause: error });
  }
}

function textOf(record: unknown, field: string, source: string): string {
  if (record === null) return '';
  if (typeof record === 'string') return record;
  if (isObject(record)) return textIn(record, field, source);
  throw notText(record, source, 'a JSON object or a text');
}

function textIn(record: object, field: string, source: string): string {
  const text: unknown = Object.hasOwn(record, field) ? record[field as keyof typeof record] : undefined;
  if (text === null) return '';
  if (typeof text === 'string') return text;
  const fields = Object.keys(record).slice(0, 20);
  throw new BtsError(
    'BAD_DATA',
    `${source}: expected text in field '${field}', found ${Array.isArray(text) ? 'a list' : typeof text}. The fields are [${fields.join(', ')}]; choose one with textField.`,
  );
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notText(value: unknown, source: string, expected: string): BtsError {
  return new BtsError('BAD_DATA', `${source}: expected ${expected}, found ${show(value, 40)}.`);
}
