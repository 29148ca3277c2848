import { BtsError } from '../../base/errors.js';
import { fromPlain, toPlain } from '../../python/plain.js';
import { Dict, type Value } from '../../python/values.js';
import type { Row } from '../data/read-rows.js';

/** A document as programs see it: a plain object. */
export type Fields = Readonly<Record<string, unknown>>;

/** A document as templates see it. */
export interface Document {
  readonly values: ReadonlyMap<string, Value>;
  /** Where it was read; undefined for one that was made. */
  readonly source?: string | undefined;
}

/** What Python has of documents and JavaScript's numbers and objects have not: `1.0`, long integers, the order of keys. */
const documents = new WeakMap<Fields, Document>();

export function documentOf(fields: Fields): Document {
  return (
    documents.get(fields) ?? { values: new Map(Object.entries(fields).map(([key, one]) => [key, fromPlain(one)])) }
  );
}

/** A row of data as a document. @throws BAD_DATA where it has no fields */
export function toFields({ value, source }: Row<Value>): Fields {
  if (!(value instanceof Dict)) throw new BtsError('BAD_DATA', `${source} is no object with fields.`);
  const fields = toPlain(value) as Fields;
  documents.set(fields, { values: new Map(value.entries().map(([key, one]) => [`${key}`, one])), source });
  return fields;
}

/** Rows of a table get the names in its first row; lines of a text file are the field `text`. */
export function withNames(rows: readonly Row<Value>[]): readonly Row<Value>[] {
  const names = rows[0]?.value;
  if (typeof names === 'string')
    return rows.map(({ value, source }) => ({ value: new Dict([['text', value]]), source }));
  if (!Array.isArray(names)) return rows;
  return rows.slice(1).map(({ value, source }) => ({
    value: new Dict(names.map((name, i) => [name, (value as Value[])[i] ?? ''])),
    source,
  }));
}
