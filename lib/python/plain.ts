import { Dict, PythonObject, Tuple, type Value } from './values.js';

/** A value that templates cannot do anything with but pass on: bytes, and whatever else a file may hold. */
export class Opaque extends PythonObject {
  constructor(
    readonly type: string,
    readonly content: unknown,
  ) {
    super();
  }
}

const wholeIsInt = (value: number): Value => (Number.isInteger(value) ? BigInt(value) : value);

/** JavaScript's values as Python's: whole numbers are ints unless `number` says otherwise, objects and maps are dicts. */
export function fromPlain(value: unknown, number = wholeIsInt): Value {
  const inner = (one: unknown) => fromPlain(one, number);
  if (value === undefined || value === null) return null;
  if (typeof value === 'number') return number(value);
  if (typeof value === 'boolean' || typeof value === 'bigint' || typeof value === 'string') return value;
  if (value instanceof PythonObject) return value;
  if (Array.isArray(value)) return value.map(inner);
  if (value instanceof Date) return dateText(value);
  if (value instanceof Map) return new Dict([...value].map(([key, one]) => [inner(key), inner(one)]));
  if (ArrayBuffer.isView(value)) return new Opaque('bytes', value);
  if (typeof value !== 'object') return new Opaque(typeof value, value);
  return new Dict(Object.entries(value).map(([key, one]) => [key, inner(one)]));
}

/** Python's values as JavaScript's: numbers that JavaScript has exactly, lists and objects. */
export function toPlain(value: Value): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(toPlain);
  if (value instanceof Tuple) return value.values.map(toPlain);
  if (value instanceof Dict) return Object.fromEntries(value.entries().map(([key, one]) => [`${key}`, toPlain(one)]));
  return value instanceof Opaque ? value.content : value;
}

/** A copy that shares no list and no dict. */
export function deepCopy(value: Value): Value {
  if (Array.isArray(value)) return value.map(deepCopy);
  if (value instanceof Dict) return new Dict(value.entries().map(([key, one]) => [key, deepCopy(one)]));
  return value;
}

/** `str(datetime)`: without a zone, and without a fraction of zero. */
export function dateText(date: Date): string {
  return date
    .toISOString()
    .replace('T', ' ')
    .replace(/(?:\.000|(\.\d{3}))Z$/, (_, fraction) => (fraction ? `${fraction}000` : ''));
}
