import { expectIndex } from '../python/call.js';
import {
  type Numeric,
  numeric,
  parseFloating,
  parseInteger,
  round,
  scaled,
  toFloat,
  truncate,
} from '../python/numbers.js';
import { calculate } from '../python/operators.js';
import { strip } from '../python/text.js';
import { PythonError, typeError, typeName, type Value, valueError } from '../python/values.js';
import type { Filter } from './evaluator.js';
import { filter } from './filter-call.js';
import { Undefined } from './undefined.js';

export const NUMBER_FILTERS: Readonly<Record<string, Filter>> = {
  abs: filter([], (value) => {
    const number = expectNumber(value);
    return typeof number === 'bigint' ? (number < 0n ? -number : number) : Math.abs(number);
  }),
  float: filter(['default?'], (value, [standard = 0]) => floatOf(value) ?? standard),
  int: filter(
    ['default?', 'base?'],
    (value, [standard = 0n, base = 10n]) => intOf(value, expectIndex(base, 'base')) ?? standard,
  ),
  round: filter(['precision?', 'method?'], (value, [precision = 0n, method = 'common']) =>
    rounded(expectNumber(value), precision, method),
  ),
};

function expectNumber(value: Value): Numeric {
  const number = numeric(value);
  if (number === undefined) throw typeError(`a number was expected, not '${typeName(value)}'`);
  return number;
}

function floatOf(value: Value): number | undefined {
  if (value instanceof Undefined) value.fail();
  if (typeof value === 'string') return parseFloating(strip(value));
  const number = numeric(value);
  return number === undefined ? undefined : toFloat(number);
}

/** `"42.7"` is 42; undefined for what is no number. */
function intOf(value: Value, base: number): bigint | undefined {
  if (value instanceof Undefined) value.fail();
  if (typeof value === 'string') {
    const integer = parseInteger(strip(value), base);
    const float = integer === undefined ? parseFloating(strip(value)) : undefined;
    return float !== undefined && Number.isFinite(float) ? truncate(float) : integer;
  }
  const number = numeric(value);
  if (number === undefined || Number.isNaN(number)) return undefined;
  return typeof number === 'bigint' ? number : truncate(number);
}

function rounded(value: Numeric, precision: Value, method: Value): Value {
  if (method === 'common') return round(value, expectIndex(precision, 'precision'));
  if (method !== 'ceil' && method !== 'floor') throw valueError('method must be common, ceil or floor');
  const unit = calculate('**', 10n, precision);
  const product = calculate('*', value, unit) as Numeric;
  const whole = typeof product === 'bigint' ? product : scaled(Math[method](expectFinite(product)), 0);
  return calculate('/', whole, unit);
}

function expectFinite(value: number): number {
  if (Number.isFinite(value)) return value;
  throw new PythonError('OverflowError', 'cannot convert float infinity or NaN to integer');
}
