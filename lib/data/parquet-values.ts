import type { SchemaTree } from 'hyparquet';
import { isListLike, isMapLike } from 'hyparquet/src/schema.js';

/**
 * A value of a column as plain data: lists, objects, null, and numbers as `integers` has them.
 *
 * - 'number': integers beyond 2^53, which numbers cannot tell apart, as bigint, all else as number;
 * - 'bigint': all integers as bigint, so that the numbers are those of floating-point columns, be they whole or not.
 */
export function plainValue(value: unknown, column: SchemaTree, integers: 'number' | 'bigint'): unknown {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) return value.map((item) => plainValue(item, itemOf(column), integers));
  if (typeof value === 'object') {
    if (column.children.length === 0) return value;
    const entries = Object.entries(value).map(([key, inner]) => [
      key,
      plainValue(inner, memberOf(column, key), integers),
    ]);
    return Object.fromEntries(entries);
  }
  if (integers === 'bigint') return isInteger(column) ? BigInt(value as number) : value;
  return typeof value === 'bigint' && isSafe(value) ? Number(value) : value;
}

/** The items of a list are two levels below it, or one where there is no level that repeats by itself. */
function itemOf(column: SchemaTree): SchemaTree {
  if (!isListLike(column)) return column;
  const repeated = column.children[0]!;
  return repeated.children.length === 1 ? repeated.children[0]! : repeated;
}

function memberOf(column: SchemaTree, key: string): SchemaTree {
  if (isMapLike(column)) return column.children[0]!.children[1]!;
  return column.children.find(({ element }) => element.name === key) ?? column;
}

function isInteger({ element: { type, converted_type: converted } }: SchemaTree): boolean {
  return (type === 'INT32' || type === 'INT64') && converted !== 'DECIMAL';
}

function isSafe(value: bigint): boolean {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;
}
