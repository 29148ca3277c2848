import { bind } from '../python/call.js';
import { divideWithRest, numeric } from '../python/numbers.js';
import { equals, isAtMost, isIn, isLess } from '../python/operators.js';
import { str } from '../python/repr.js';
import { isLower, isUpper } from '../python/string-methods.js';
import { Callable, Dict, PythonObject, Range, Tuple, typeError, typeName, type Value } from '../python/values.js';
import type { Filter } from './evaluator.js';
import { Undefined } from './undefined.js';

const plain =
  (test: (value: Value) => boolean): Filter =>
  (_, value, args, keywords) => {
    bind('test', [], args, keywords);
    return test(seen(value));
  };

const against =
  (test: (value: Value, other: Value) => boolean): Filter =>
  (_, value, args, keywords) =>
    test(seen(value), seen(bind('test', ['other'], args, keywords)[0]!));

/** What is strictly undefined may not be looked at. */
const seen = (value: Value) => (value instanceof Undefined && value.isStrict ? value.fail() : value);

/** Jinja's tests, `value is name(args)`. */
export const TESTS: Readonly<Record<string, Filter>> = {
  defined: (_, value) => !(value instanceof Undefined),
  undefined: (_, value) => value instanceof Undefined,
  none: (_, value) => value === null,
  boolean: (_, value) => typeof value === 'boolean',
  false: (_, value) => value === false,
  true: (_, value) => value === true,
  integer: (_, value) => typeof value === 'bigint',
  float: (_, value) => typeof value === 'number',
  number: (_, value) => numeric(value) !== undefined,
  string: (_, value) => typeof value === 'string',
  mapping: (_, value) => value instanceof Dict,
  callable: (_, value) => value instanceof Callable,
  escaped: () => false,
  sequence: plain(isSequence),
  iterable: plain((value) => isSequence(value) || (value instanceof PythonObject && value.items() !== undefined)),
  lower: plain((value) => isLower(str(value))),
  upper: plain((value) => isUpper(str(value))),
  odd: plain((value) => Number(rest(value, 2n)) === 1),
  even: plain((value) => Number(rest(value, 2n)) === 0),
  divisibleby: against((value, by) => Number(rest(value, by)) === 0),
  sameas: against(isSame),
  in: against(isIn),
  filter: (evaluator, value) => typeof value === 'string' && evaluator.environment.filters.has(value),
  test: (evaluator, value) => typeof value === 'string' && evaluator.environment.tests.has(value),
  ...named(['==', 'eq', 'equalto'], against(equals)),
  ...named(
    ['!=', 'ne'],
    against((a, b) => !equals(a, b)),
  ),
  ...named(
    ['>', 'gt', 'greaterthan'],
    against((a, b) => isLess(b, a)),
  ),
  ...named(
    ['>=', 'ge'],
    against((a, b) => isAtMost(b, a)),
  ),
  ...named(
    ['<', 'lt', 'lessthan'],
    against((a, b) => isLess(a, b)),
  ),
  ...named(['<=', 'le'], against(isAtMost)),
};

function named(names: readonly string[], test: Filter): Record<string, Filter> {
  return Object.fromEntries(names.map((name) => [name, test]));
}

function isSequence(value: Value): boolean {
  return (
    typeof value === 'string' ||
    Array.isArray(value) ||
    [Tuple, Dict, Range, Undefined].some((type) => value instanceof type)
  );
}

function isSame(a: Value, b: Value): boolean {
  return typeof a === typeof b && (typeof a === 'object' ? a === b : equals(a, b));
}

function rest(value: Value, by: Value): bigint | number {
  const [a, b] = [numeric(value), numeric(by)];
  if (a === undefined || b === undefined) throw typeError(`'${typeName(value)}' is no number to be divided`);
  return divideWithRest(a, b)[1];
}
