import { divide, divideWithRest, multiply, type Numeric, numeric, power, toFloat } from './numbers.js';
import { percentFormat } from './percent-format.js';
import {
  Dict,
  expectDepth,
  expectLength,
  iterate,
  lengthOf,
  PythonError,
  PythonObject,
  Tuple,
  typeError,
  typeName,
  type Value,
} from './values.js';

/** Comparisons of nested values that one `==` may take. */
const MAX_COMPARISONS = 2 ** 22;

/** `a == b` @throws RecursionError where nested values have no end */
export function equals(a: Value, b: Value): boolean {
  let depth = 0;
  let comparisons = 0;
  const same = (left: Value, right: Value): boolean => {
    expectDepth(++depth);
    if (++comparisons > MAX_COMPARISONS) throw new PythonError('RecursionError', 'too much to compare');
    const result = sameValue(left, right, same);
    depth--;
    return result;
  };
  return same(a, b);
}

function sameValue(a: Value, b: Value, inner: (a: Value, b: Value) => boolean): boolean {
  const [x, y] = [numeric(a), numeric(b)];
  // An int and a float of the same value are equal, exactly.
  if (x !== undefined && y !== undefined) return x <= y && x >= y;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && (a === b || a.every((value, i) => inner(value, b[i]!)));
  }
  if (a instanceof PythonObject) return a === b || a.equals(b, inner);
  if (b instanceof PythonObject) return b.equals(a, inner);
  return a === b;
}

/** Whether `a < b`. @throws TypeError for what has no order */
export function isLess(a: Value, b: Value, depth = 0): boolean {
  expectDepth(depth);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x < y;
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b) < 0;
  const [left, right] =
    a instanceof Tuple && b instanceof Tuple
      ? [a.values, b.values]
      : Array.isArray(a) && Array.isArray(b)
        ? [a, b]
        : [];
  if (!left || !right) {
    throw typeError(`'<' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
  }
  const at = left.findIndex((value, i) => i >= right.length || !equals(value, right[i]!));
  if (at === -1) return left.length < right.length;
  return at < right.length && isLess(left[at]!, right[at]!, depth + 1);
}

/** Whether `a <= b`: not the same as `not b < a` where there is a NaN. */
export function isAtMost(a: Value, b: Value): boolean {
  const [x, y] = [numeric(a), numeric(b)];
  return x !== undefined && y !== undefined ? x <= y : !isLess(b, a);
}

/** By code points: JavaScript's order, by 16 bits, has other characters before some of those beyond. */
function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return rank(a.charCodeAt(i)) - rank(b.charCodeAt(i));
  }
  return a.length - b.length;
}

const rank = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);

/** `sorted(values, key=..)`: equals stay in their order. */
export function sorted(values: readonly Value[], key: (value: Value) => Value, isReversed = false): Value[] {
  const keyed = values.map((value) => ({ value, key: key(value) }));
  return keyed.sort((a, b) => (isReversed ? compare(b.key, a.key) : compare(a.key, b.key))).map(({ value }) => value);
}

/** Negative, 0 or positive, as JavaScript's sorting has it. @throws TypeError for what has no order */
export const compare = (a: Value, b: Value) => (isLess(a, b) ? -1 : isLess(b, a) ? 1 : 0);

/** `value in container` @throws TypeError */
export function isIn(value: Value, container: Value): boolean {
  if (typeof container === 'string') {
    if (typeof value !== 'string') {
      throw typeError(`'in <string>' requires string as left operand, not ${typeName(value)}`);
    }
    return container.includes(value);
  }
  if (container instanceof Dict) return container.has(value);
  for (const item of iterate(container)) if (equals(item, value)) return true;
  return false;
}

export type Operator = '+' | '-' | '*' | '/' | '//' | '%' | '**';

/** `a + b` and its like, for numbers, texts and lists. @throws TypeError and what the operation may raise */
export function calculate(operator: Operator, a: Value, b: Value): Value {
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return ARITHMETIC[operator](x, y);
  if (operator === '%' && typeof a === 'string') return percentFormat(a, b);
  if (operator === '*' && (isSequence(a) || isSequence(b))) {
    const [sequence, times] = isSequence(a) ? [a, y] : [b as Sequence, x];
    if (typeof times !== 'bigint') {
      throw typeError(`can't multiply sequence by non-int of type '${typeName(isSequence(a) ? b : a)}'`);
    }
    return repeat(sequence, times);
  }
  if (operator === '+') {
    if (typeof a === 'string' && typeof b === 'string') return limited(a + b);
    if (Array.isArray(a) && Array.isArray(b)) return limited([...a, ...b]);
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple(limited([...a.values, ...b.values]));
  }
  if (operator === '+' && (typeof a === 'string' || Array.isArray(a))) {
    const type = typeName(a);
    throw typeError(`can only concatenate ${type} (not "${typeName(b)}") to ${type}`);
  }
  throw typeError(`unsupported operand type(s) for ${operator}: '${typeName(a)}' and '${typeName(b)}'`);
}

const ARITHMETIC: Record<Operator, (a: Numeric, b: Numeric) => Numeric> = {
  '+': (a, b) => (typeof a === 'bigint' && typeof b === 'bigint' ? a + b : toFloat(a) + toFloat(b)),
  '-': (a, b) => (typeof a === 'bigint' && typeof b === 'bigint' ? a - b : toFloat(a) - toFloat(b)),
  '*': multiply,
  '/': divide,
  '//': (a, b) => divideWithRest(a, b)[0],
  '%': (a, b) => divideWithRest(a, b)[1],
  '**': power,
};

type Sequence = string | Value[] | Tuple;
const isSequence = (value: Value): value is Sequence =>
  typeof value === 'string' || Array.isArray(value) || value instanceof Tuple;

function repeat(sequence: Sequence, times: bigint): Value {
  expectLength(times > 0n ? BigInt(lengthOf(sequence)!) * times : 0);
  const count = lengthOf(sequence) === 0 ? 0 : Number(times > 0n ? times : 0n);
  if (typeof sequence === 'string') return sequence.repeat(count);
  const values = Array.isArray(sequence) ? sequence : sequence.values;
  const repeated = Array.from({ length: count }, () => values).flat();
  return Array.isArray(sequence) ? repeated : new Tuple(repeated);
}

function limited<T extends { length: number }>(result: T): T {
  expectLength(result.length);
  return result;
}

/** `-value` and `+value` @throws TypeError */
export function signed(operator: '-' | '+', value: Value): Value {
  const number = numeric(value);
  if (number === undefined) throw typeError(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  return operator === '-' ? -number : number;
}
