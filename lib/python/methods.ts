import { bind, expectIndex, type Parameters } from './call.js';
import { equals, sorted } from './operators.js';
import { repr } from './repr.js';
import { formatText } from './str-format.js';
import { STRING_METHODS } from './string-methods.js';
import {
  Callable,
  Dict,
  DictView,
  expectLength,
  isTruthy,
  iterate,
  type Keywords,
  orElse,
  PythonError,
  Tuple,
  toList,
  typeError,
  type Value,
  valueError,
} from './values.js';

type Method<Self> = [parameters: Parameters, call: (self: Self, ...args: readonly (Value | undefined)[]) => Value];
type Methods<Self> = Readonly<Record<string, Method<Self>>>;

const LIST_METHODS: Methods<Value[]> = {
  append: [['object'], (list, value) => changed(list, () => list.push(value!))],
  clear: [[], (list) => changed(list, () => list.splice(0))],
  copy: [[], (list) => [...list]],
  count: [['value'], (list, value) => countOf(list, value!)],
  extend: [['iterable'], (list, values) => changed(list, () => list.push(...toList(values!)))],
  index: [['value', 'start?', 'stop?'], indexOf],
  insert: [
    ['index', 'object'],
    (list, at, value) => changed(list, () => list.splice(expectIndex(at, 'index'), 0, value!)),
  ],
  pop: [['index?'], (list, at) => pop(list, at === undefined ? -1 : expectIndex(at, 'index'))],
  remove: [['value'], (list, value) => changed(list, () => list.splice(Number(indexOf(list, value)), 1))],
  reverse: [[], (list) => changed(list, () => list.reverse())],
  sort: [
    ['key?', 'reverse?'],
    (list, key, reverse) =>
      changed(list, () => list.splice(0, list.length, ...sorted(list, keyOf(key), isTruthy(reverse ?? false)))),
  ],
};

const TUPLE_METHODS: Methods<Tuple> = {
  count: [['value'], (tuple, value) => countOf(tuple.values, value!)],
  index: [['value', 'start?', 'stop?'], (tuple, value, start, stop) => indexOf([...tuple.values], value, start, stop)],
};

const DICT_METHODS: Methods<Dict> = {
  clear: [[], (dict) => changed(dict, () => dict.clear())],
  copy: [[], (dict) => new Dict(dict.entries())],
  get: [['key', 'default?'], (dict, key, otherwise) => orElse(dict.get(key!), () => otherwise ?? null)],
  items: [
    [],
    (dict) =>
      new DictView(
        'items',
        dict.entries().map((pair) => new Tuple(pair)),
      ),
  ],
  keys: [[], (dict) => new DictView('keys', dict.keys())],
  pop: [['key', 'default?'], popKey],
  popitem: [[], (dict) => popItem(dict)],
  setdefault: [['key', 'default?'], (dict, key, value) => setDefault(dict, key!, value ?? null)],
  values: [[], (dict) => new DictView('values', dict.values())],
};

const FLOAT_METHODS: Methods<number> = { is_integer: [[], (value) => Number.isInteger(value)] };
const INT_METHODS: Methods<bigint> = {
  bit_length: [[], (value) => BigInt(value === 0n ? 0 : value.toString(2).replace('-', '').length)],
};

/** The method of a value that has this name. */
export function methodOf(value: Value, name: string): Callable | undefined {
  if (typeof value === 'string') {
    if (name === 'format') return new Callable(name, (args, keywords) => formatText(value, args, keywords));
    return method(STRING_METHODS, value, name);
  }
  if (Array.isArray(value)) return method(LIST_METHODS, value, name);
  if (typeof value === 'number') return method(FLOAT_METHODS, value, name);
  if (typeof value === 'bigint') return method(INT_METHODS, value, name);
  if (value instanceof Tuple) return method(TUPLE_METHODS, value, name);
  if (!(value instanceof Dict)) return undefined;
  if (name === 'update') return new Callable(name, (args, keywords) => update(value, args, keywords));
  return method(DICT_METHODS, value, name);
}

function method<Self>(methods: Methods<Self>, self: Self, name: string): Callable | undefined {
  if (!Object.hasOwn(methods, name)) return undefined;
  const [parameters, call] = methods[name]!;
  return new Callable(name, (args, keywords) => call(self, ...bind(name, parameters, args, keywords)));
}

/** What changes a value gives None. */
function changed(value: Value[] | Dict, change: () => unknown): null {
  change();
  expectLength(value.length);
  return null;
}

const countOf = (values: readonly Value[], value: Value) => BigInt(values.filter((one) => equals(one, value)).length);

function indexOf(list: Value[], value: Value | undefined, start?: Value, stop?: Value): bigint {
  const at = (position: Value | undefined, otherwise: number) => {
    const index = position === undefined ? otherwise : expectIndex(position, 'slice index');
    return index < 0 ? Math.max(index + list.length, 0) : index;
  };
  const [from, to] = [at(start, 0), at(stop, list.length)];
  const index = list.findIndex((one, i) => i >= from && i < to && equals(one, value!));
  if (index === -1) throw valueError(`${repr(value!)} is not in list`);
  return BigInt(index);
}

function pop(list: Value[], at: number): Value {
  const index = at < 0 ? at + list.length : at;
  if (index < 0 || index >= list.length) {
    throw new PythonError('IndexError', list.length === 0 ? 'pop from empty list' : 'pop index out of range');
  }
  return list.splice(index, 1)[0]!;
}

function keyOf(key: Value | undefined): (value: Value) => Value {
  if (key === undefined || key === null) return (value) => value;
  if (!(key instanceof Callable)) throw typeError('the key of a sort is a function');
  return (value) => key.call([value], new Map());
}

function popKey(dict: Dict, key: Value | undefined, otherwise: Value | undefined): Value {
  const value = orElse(dict.get(key!), () => otherwise);
  if (value === undefined) throw new PythonError('KeyError', repr(key!));
  dict.delete(key!);
  return value;
}

function popItem(dict: Dict): Tuple {
  const last = dict.entries().at(-1);
  if (!last) throw new PythonError('KeyError', "'popitem(): dictionary is empty'");
  dict.delete(last[0]);
  return new Tuple(last);
}

function setDefault(dict: Dict, key: Value, value: Value): Value {
  if (!dict.has(key)) dict.set(key, value);
  return dict.get(key)!;
}

function update(dict: Dict, args: readonly Value[], keywords: Keywords): null {
  const [other] = bind('update', ['other?'], args, new Map());
  for (const [key, value] of [...(other === undefined ? [] : pairsOf(other)), ...keywords]) dict.set(key, value);
  return changed(dict, () => {});
}

/** The pairs of a dict or of a list of pairs, as `dict(value)` takes them. @throws TypeError, ValueError */
export function pairsOf(value: Value): (readonly [Value, Value])[] {
  if (value instanceof Dict) return value.entries();
  return Array.from(iterate(value), (pair) => {
    const both = toList(pair);
    if (both.length !== 2) throw valueError(`a dict is made of pairs, not of ${both.length} values`);
    return [both[0]!, both[1]!] as const;
  });
}
