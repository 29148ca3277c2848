import type { SchemaTree } from 'hyparquet';
import { dateText, fromPlain } from '../python/plain.js';
import { Dict, type Value } from '../python/values.js';

/**
 * A row as Python has it: integers of every width are ints with all their digits, floats are floats whatever they hold, and
 * fields stay in the schema's order. What was read tells neither an INT32 from a DOUBLE nor the order of fields named by
 * numbers, the schema does.
 */
export function pythonRow(row: Readonly<Record<string, unknown>>, { children }: SchemaTree): Dict {
  return new Dict(children.map((field) => [field.element.name, pythonValue(row[field.element.name], field)]));
}

function pythonValue(value: unknown, field: SchemaTree): Value {
  if (value === undefined || value === null) return null;
  const { children, element } = field;
  if (element.converted_type === 'LIST' && children.length === 1) return list(value, elementOf(children[0]!));
  if (element.repetition_type === 'REPEATED') {
    return list(value, { ...field, element: { ...element, repetition_type: 'REQUIRED' } });
  }
  const isMap = element.converted_type === 'MAP' || element.converted_type === 'MAP_KEY_VALUE';
  if (isMap) {
    const values = children[0]?.children[1];
    const entries = Object.entries(value as object);
    return new Dict(entries.map(([key, one]) => [key, values ? pythonValue(one, values) : fromPlain(one)]));
  }
  if (children.length > 0) return pythonRow(value as Record<string, unknown>, field);
  return leaf(value, field);
}

function list(value: unknown, element: SchemaTree): Value {
  return Array.from(value as Iterable<unknown>, (one) => pythonValue(one, element));
}

/** A list is a group, repeated, of one element; in old files the repeated thing is the element. */
function elementOf(repeated: SchemaTree): SchemaTree {
  if (repeated.children.length === 1) return repeated.children[0]!;
  return { ...repeated, element: { ...repeated.element, repetition_type: 'REQUIRED' } };
}

function leaf(value: unknown, { element }: SchemaTree): Value {
  const { type, converted_type: converted, scale = 0 } = element;
  if (value instanceof Date) return converted === 'DATE' ? value.toISOString().slice(0, 10) : dateText(value);
  if (converted === 'DECIMAL' && typeof value === 'number') return value.toFixed(scale);
  if (typeof value === 'bigint') return value;
  if (typeof value !== 'number') return fromPlain(value);
  return type === 'INT32' || type === 'INT64' ? BigInt(value) : value;
}
