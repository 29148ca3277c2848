import { numeric } from './numbers.js';
import { codePoints, PythonObject, Range, Tuple, typeError, typeName, type Value, valueError } from './values.js';

/** The bounds of `value[start:stop:step]`. */
export interface Slice {
  start: Value;
  stop: Value;
  step: Value;
}

/** `value[key]`; undefined where there is no such item, or no items at all. */
export function itemOf(value: Value, key: Value): Value | undefined {
  if (value instanceof PythonObject && !(value instanceof Tuple || value instanceof Range)) return value.item(key);
  const index = numeric(key);
  if (typeof index !== 'bigint') return undefined;
  const values = sequence(value);
  if (!values) return undefined;
  const at = Number(index) < 0 ? Number(index) + values.length : Number(index);
  return at >= 0 && at < values.length ? values.at(at) : undefined;
}

/** `value[start:stop:step]`; undefined for what has no order. @throws TypeError, ValueError */
export function sliceOf(value: Value, slice: Slice): Value | undefined {
  const values = sequence(value);
  if (!values) return undefined;
  const step = bound(slice.step) ?? 1;
  if (step === 0) throw valueError('slice step cannot be zero');
  const { length } = values;
  const [lowest, highest] = step > 0 ? [0, length] : [-1, length - 1];
  const clamp = (at: number | undefined, otherwise: number) =>
    at === undefined ? otherwise : Math.min(Math.max(at < 0 ? at + length : at, lowest), highest);
  const start = clamp(bound(slice.start), step > 0 ? lowest : highest);
  const stop = clamp(bound(slice.stop), step > 0 ? highest : lowest);
  if (value instanceof Range) {
    return new Range(value.at(start), value.at(stop), value.step * BigInt(step));
  }
  if (typeof value === 'string' && step === 1 && typeof values.source === 'string') {
    return values.source.slice(start, Math.max(start, stop));
  }
  const picked: Value[] = [];
  for (let i = start; step > 0 ? i < stop : i > stop; i += step) picked.push(values.at(i));
  if (typeof value === 'string') return picked.join('');
  return Array.isArray(value) ? picked : new Tuple(picked);
}

function sequence(value: Value): { length: number; at(i: number): Value; source?: unknown } | undefined {
  if (typeof value === 'string') {
    const source = codePoints(value);
    return { length: source.length, at: (i) => source[i]!, source };
  }
  if (Array.isArray(value)) return { length: value.length, at: (i) => value[i]! };
  if (value instanceof Tuple) return { length: value.length, at: (i) => value.values[i]! };
  return value instanceof Range ? value : undefined;
}

function bound(value: Value): number | undefined {
  if (value === null) return undefined;
  const index = numeric(value);
  if (typeof index !== 'bigint') {
    throw typeError(`slice indices must be integers or None, not ${typeName(value)}`);
  }
  // Whatever lies beyond is past the end of every sequence.
  return Number(index < -(2n ** 53n) ? -(2n ** 53n) : index > 2n ** 53n ? 2n ** 53n : index);
}
