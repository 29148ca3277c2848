import { bind, expectIndex, expectSize } from '../python/call.js';
import { methodOf } from '../python/methods.js';
import { parseInteger } from '../python/numbers.js';
import { calculate, equals, isLess, sorted } from '../python/operators.js';
import { str } from '../python/repr.js';
import { join } from '../python/string-methods.js';
import {
  Dict,
  expectLength,
  isTruthy,
  type Keywords,
  orElse,
  PythonObject,
  Tuple,
  typeError,
  type Value,
  valueError,
} from '../python/values.js';
import { TemplateError } from './errors.js';
import type { Evaluator, Filter } from './evaluator.js';
import { filter } from './filter-call.js';
import { Undefined } from './undefined.js';

const length = filter([], (value) => BigInt(expectSize(value)));
const standard = filter(['default_value?', 'boolean?'], (value, [otherwise = '', boolean = false]) =>
  value instanceof Undefined || (isTruthy(boolean) && !isTruthy(value)) ? otherwise : value,
);

/** What Jinja gives lazily is a list here: what can be seen of it is the same. */
export const LIST_FILTERS: Readonly<Record<string, Filter>> = {
  attr: filter(['name'], (value, [name], evaluator) => attributeOnly(value, str(name!), evaluator)),
  batch: filter(['linecount', 'fill_with?'], (value, [count, fill], evaluator) =>
    batch(evaluator.toList(value), expectIndex(count, 'linecount'), fill),
  ),
  count: length,
  d: standard,
  default: standard,
  dictsort: filter(
    ['case_sensitive?', 'by?', 'reverse?'],
    (value, [sensitive = false, by = 'key', reverse = false]) => {
      if (by !== 'key' && by !== 'value') throw valueError('You can only sort by either "key" or "value"');
      const pairs = expectDict(value).entries();
      const key = (pair: Value) => cased((pair as Tuple).values[by === 'key' ? 0 : 1]!, isTruthy(sensitive));
      return sorted(
        pairs.map((pair) => new Tuple(pair)),
        key,
        isTruthy(reverse),
      );
    },
  ),
  first: filter([], (value, _, evaluator) =>
    orElse(evaluator.toList(value)[0], () => evaluator.undefined('No first item, sequence was empty.')),
  ),
  groupby: filter(
    ['attribute', 'default?', 'case_sensitive?'],
    (value, [attribute, otherwise, sensitive = false], evaluator) =>
      groupBy(evaluator.toList(value), getter(evaluator, attribute!, otherwise), isTruthy(sensitive)),
  ),
  items: filter([], (value) =>
    value instanceof Undefined
      ? evenUndefined(value)
      : expectDict(value)
          .entries()
          .map((pair) => new Tuple(pair)),
  ),
  join: filter(['d?', 'attribute?'], (value, [separator = '', attribute], evaluator) => {
    const items = evaluator.toList(value);
    const shown = attribute === undefined || attribute === null ? items : items.map(getter(evaluator, attribute));
    return join(str(separator), shown.map(str));
  }),
  last: filter([], (value, _, evaluator) =>
    orElse(evaluator.toList(value).at(-1), () => evaluator.undefined('No last item, sequence was empty.')),
  ),
  length,
  list: filter([], (value, _, evaluator) => evaluator.toList(value)),
  map: (evaluator, value, args, keywords) => evaluator.toList(value).map(mapping(evaluator, args, keywords)),
  max: extreme((a, b) => isLess(b, a)),
  min: extreme(isLess),
  reject: selecting(false, false),
  rejectattr: selecting(false, true),
  reverse: filter([], (value, _, evaluator) => {
    const items = evaluator.toList(value).reverse();
    return typeof value === 'string' ? items.join('') : items;
  }),
  select: selecting(true, false),
  selectattr: selecting(true, true),
  slice: filter(['slices', 'fill_with?'], (value, [count, fill], evaluator) =>
    columns(evaluator.toList(value), expectIndex(count, 'slices'), fill),
  ),
  sort: filter(
    ['reverse?', 'case_sensitive?', 'attribute?'],
    (value, [reverse = false, sensitive = false, attribute], evaluator) =>
      sorted(evaluator.toList(value), sortKey(evaluator, attribute, isTruthy(sensitive)), isTruthy(reverse)),
  ),
  sum: filter(['attribute?', 'start?'], (value, [attribute, start = 0n], evaluator) => {
    const items = evaluator.toList(value);
    const summands = attribute === undefined || attribute === null ? items : items.map(getter(evaluator, attribute));
    if (typeof start === 'string') throw typeError("sum() can't sum strings");
    return summands.reduce((sum, one) => {
      const result = calculate('+', sum, one);
      if (Array.isArray(result)) evaluator.spend(result.length);
      return result;
    }, start);
  }),
  unique: filter(['case_sensitive?', 'attribute?'], (value, [sensitive = false, attribute], evaluator) => {
    const get = getter(evaluator, attribute);
    const seen = new Dict();
    return evaluator.toList(value).filter((item) => {
      const key = cased(get(item), isTruthy(sensitive));
      if (seen.has(key)) return false;
      seen.set(key, null);
      return true;
    });
  }),
};

/** `value|items` of what is undefined is nothing, even where that is strict. */
const evenUndefined = (_: Undefined): Value => [];

function expectDict(value: Value): Dict {
  if (value instanceof Dict) return value;
  throw typeError('a mapping was expected');
}

/** Upper and lower case are the same to sorting and comparing, unless asked for. */
const cased = (value: Value, isSensitive: boolean) =>
  typeof value === 'string' && !isSensitive ? value.toLowerCase() : value;

function attributeOnly(value: Value, name: string, evaluator: Evaluator): Value {
  const found = methodOf(value, name) ?? (value instanceof PythonObject ? value.attribute(name) : undefined);
  return orElse(found, () => evaluator.undefined(`it has no attribute '${name}'`));
}

/** What finds `a.b.0` in an item; the item itself where there is no attribute. */
function getter(evaluator: Evaluator, attribute: Value | undefined, otherwise?: Value): (item: Value) => Value {
  if (attribute === undefined || attribute === null) return (item) => item;
  const path = typeof attribute === 'string' ? attribute.split('.').map(part) : [attribute];
  return (item) =>
    path.reduce((value, key) => {
      const found = evaluator.item(value, key);
      return found instanceof Undefined && otherwise !== undefined && otherwise !== null ? otherwise : found;
    }, item);
}

const part = (name: string): Value => (/^\d+$/.test(name) ? parseInteger(name)! : name);

/** Several attributes with commas between them are compared one after the other. */
function sortKey(evaluator: Evaluator, attribute: Value | undefined, isSensitive: boolean): (item: Value) => Value {
  const attributes = typeof attribute === 'string' ? attribute.split(',') : [attribute];
  const getters = attributes.map((one) => getter(evaluator, one));
  return (item) => getters.map((get) => cased(get(item), isSensitive));
}

function extreme(isBetter: (a: Value, b: Value) => boolean): Filter {
  return filter(['case_sensitive?', 'attribute?'], (value, [sensitive = false, attribute], evaluator) => {
    const get = getter(evaluator, attribute);
    const key = (item: Value) => cased(get(item), isTruthy(sensitive));
    const [first, ...rest] = evaluator.toList(value);
    if (first === undefined) return evaluator.undefined('No aggregated item, sequence was empty.');
    return rest.reduce((best, item) => (isBetter(key(item), key(best)) ? item : best), first);
  });
}

function mapping(evaluator: Evaluator, args: readonly Value[], keywords: Keywords): (item: Value) => Value {
  if (args.length === 0) {
    const [attribute, otherwise] = bind('map', ['attribute', 'default?'], [], keywords);
    return getter(evaluator, attribute!, otherwise);
  }
  const [name, ...rest] = args;
  return (item) => evaluator.filter(str(name!), item, rest, keywords);
}

function selecting(keeps: boolean, byAttribute: boolean): Filter {
  return (evaluator, value, args, keywords) => {
    const items = evaluator.toList(value);
    if (byAttribute && args.length === 0) throw new TemplateError('Missing parameter for attribute name');
    const get = getter(evaluator, byAttribute ? args[0] : undefined);
    const [name, ...rest] = byAttribute ? args.slice(1) : args;
    const test = (item: Value) =>
      name === undefined ? isTruthy(item) : evaluator.test(str(name), item, rest, keywords);
    return items.filter((item) => test(get(item)) === keeps);
  };
}

/** What `groupby` gives: a pair that has names. */
class Group extends Tuple {
  override attribute(name: string): Value | undefined {
    return name === 'grouper' ? this.values[0] : name === 'list' ? this.values[1] : undefined;
  }
}

function groupBy(items: readonly Value[], get: (item: Value) => Value, isSensitive: boolean): Value[] {
  const key = (item: Value) => cased(get(item), isSensitive);
  const groups: Value[][] = [];
  for (const item of sorted(items, key)) {
    const group = groups.at(-1);
    if (group && equals(key(group[0]!), key(item))) group.push(item);
    else groups.push([item]);
  }
  return groups.map((group) => new Group([get(group[0]!), group]));
}

/** Rows of so many. */
function batch(items: readonly Value[], count: number, fill: Value | undefined): Value[] {
  expectLength(count);
  if (count < 1) return items.length > 0 ? [[...items]] : [];
  const rows: Value[][] = [];
  for (let i = 0; i < items.length; i += count) rows.push(items.slice(i, i + count));
  const last = rows.at(-1);
  while (last && fill !== undefined && fill !== null && last.length < count) last.push(fill);
  return rows;
}

/** So many columns, the first ones longer. */
function columns(items: readonly Value[], count: number, fill: Value | undefined): Value[] {
  expectLength(count);
  if (count < 1) throw valueError('slices must be at least 1');
  const [size, longer] = [Math.floor(items.length / count), items.length % count];
  return Array.from({ length: count }, (_, i) => {
    const start = i * size + Math.min(i, longer);
    const column = items.slice(start, start + size + (i < longer ? 1 : 0));
    if (fill !== undefined && fill !== null && i >= longer) column.push(fill);
    return column;
  });
}
