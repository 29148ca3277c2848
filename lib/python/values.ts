/**
 * Python's values as JavaScript holds them: None is null, int is bigint, float is number, list is an array. So `1` and `1.0`
 * stay apart, and integers have all their digits. Everything else is a `PythonObject`.
 */
export type Value = null | boolean | bigint | number | string | Value[] | PythonObject;

export type ErrorType =
  | 'AttributeError'
  | 'IndexError'
  | 'KeyError'
  | 'MemoryError'
  | 'OverflowError'
  | 'RecursionError'
  | 'SyntaxError'
  | 'TypeError'
  | 'ValueError'
  | 'ZeroDivisionError';

/** What Python would raise: `ValueError: 'x' is not in list`. */
export class PythonError extends Error {
  constructor(
    readonly type: ErrorType,
    message: string,
  ) {
    super(`${type}: ${message}`);
  }
}

export const typeError = (message: string) => new PythonError('TypeError', message);
export const valueError = (message: string) => new PythonError('ValueError', message);

/** Characters of a text and items of a list; what is longer was not meant. */
export const MAX_LENGTH = 2 ** 23;
/** Lists in lists, calls in calls. */
export const MAX_DEPTH = 200;

/** @throws MemoryError for a text or list of more than `MAX_LENGTH` */
export function expectLength(length: number | bigint): void {
  if (length > MAX_LENGTH) throw new PythonError('MemoryError', `more than ${MAX_LENGTH} characters or items`);
}

/** @throws RecursionError where lists or calls are nested too deeply, or contain themselves */
export function expectDepth(depth: number): void {
  if (depth > MAX_DEPTH) throw new PythonError('RecursionError', `more than ${MAX_DEPTH} levels`);
}

/** A value that is none of JavaScript's: what it is asked for decides its class. */
export abstract class PythonObject {
  /** As `type(value).__name__` has it. */
  abstract readonly type: string;

  /** `repr(value)`; `inner` writes the values in it. */
  repr(_inner: (value: Value) => string): string {
    throw typeError(`a ${this.type} has no text of its own; call it, or take from it what is to be shown`);
  }

  /** `str(value)`, where that is another text than `repr` gives. */
  str?(): string;

  isTruthy(): boolean {
    return this.length === undefined || this.length > 0;
  }

  /** `len(value)`; undefined where it has none. */
  get length(): number | undefined {
    return undefined;
  }

  /** What `for` goes over; undefined where it is not iterable. */
  items(): Iterable<Value> | undefined {
    return undefined;
  }

  equals(other: Value, _inner: (a: Value, b: Value) => boolean): boolean {
    return this === other;
  }

  /** `value[key]`; undefined where there is nothing. */
  item(_key: Value): Value | undefined {
    return undefined;
  }

  /** `value.name`, but for methods; undefined where there is nothing. */
  attribute(_name: string): Value | undefined {
    return undefined;
  }
}

export class Tuple extends PythonObject {
  readonly type: string = 'tuple';

  constructor(readonly values: readonly Value[]) {
    super();
  }

  override repr(inner: (value: Value) => string): string {
    const texts = this.values.map(inner);
    return texts.length === 1 ? `(${texts[0]},)` : `(${texts.join(', ')})`;
  }

  override get length(): number {
    return this.values.length;
  }

  override items(): Iterable<Value> {
    return this.values;
  }

  override equals(other: Value, inner: (a: Value, b: Value) => boolean): boolean {
    return (
      other instanceof Tuple &&
      other.length === this.length &&
      this.values.every((value, i) => inner(value, other.values[i]!))
    );
  }
}

/** Keys stay in the order in which they came. `1`, `1.0` and `True` are the same key. */
export class Dict extends PythonObject {
  readonly type = 'dict';
  private readonly pairs = new Map<string, readonly [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    super();
    for (const [key, value] of entries) this.set(key, value);
  }

  get(key: Value): Value | undefined {
    return this.pairs.get(hashKey(key))?.[1];
  }

  has(key: Value): boolean {
    return this.pairs.has(hashKey(key));
  }

  set(key: Value, value: Value): void {
    const hash = hashKey(key);
    this.pairs.set(hash, [this.pairs.get(hash)?.[0] ?? key, value]);
  }

  delete(key: Value): boolean {
    return this.pairs.delete(hashKey(key));
  }

  clear(): void {
    this.pairs.clear();
  }

  entries(): (readonly [Value, Value])[] {
    return [...this.pairs.values()];
  }

  keys(): Value[] {
    return this.entries().map(([key]) => key);
  }

  values(): Value[] {
    return this.entries().map(([, value]) => value);
  }

  override repr(inner: (value: Value) => string): string {
    return `{${this.entries()
      .map(([key, value]) => `${inner(key)}: ${inner(value)}`)
      .join(', ')}}`;
  }

  override get length(): number {
    return this.pairs.size;
  }

  override items(): Iterable<Value> {
    return this.keys();
  }

  override equals(other: Value, inner: (a: Value, b: Value) => boolean): boolean {
    if (!(other instanceof Dict) || other.length !== this.length) return false;
    return this.entries().every(([key, value]) => {
      const theirs = other.get(key);
      return theirs !== undefined && inner(value, theirs);
    });
  }

  override item(key: Value): Value | undefined {
    return this.get(key);
  }
}

/** What `keys()`, `values()` and `items()` of a dict give. */
export class DictView extends PythonObject {
  readonly type: string;

  constructor(
    kind: 'keys' | 'values' | 'items',
    private readonly content: readonly Value[],
  ) {
    super();
    this.type = `dict_${kind}`;
  }

  override repr(inner: (value: Value) => string): string {
    return `${this.type}([${this.content.map(inner).join(', ')}])`;
  }

  override get length(): number {
    return this.content.length;
  }

  override items(): Iterable<Value> {
    return this.content;
  }
}

export class Range extends PythonObject {
  readonly type = 'range';

  constructor(
    readonly start: bigint,
    readonly stop: bigint,
    readonly step: bigint,
  ) {
    super();
    if (step === 0n) throw valueError('range() arg 3 must not be zero');
  }

  override repr(): string {
    return this.step === 1n ? `range(${this.start}, ${this.stop})` : `range(${this.start}, ${this.stop}, ${this.step})`;
  }

  override get length(): number {
    const [span, step] = this.step > 0n ? [this.stop - this.start, this.step] : [this.start - this.stop, -this.step];
    return span > 0n ? Number((span + step - 1n) / step) : 0;
  }

  at(index: number): bigint {
    return this.start + BigInt(index) * this.step;
  }

  override *items(): Generator<Value> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  override equals(other: Value): boolean {
    if (!(other instanceof Range) || other.length !== this.length) return false;
    return this.length === 0 || (this.start === other.start && (this.length === 1 || this.step === other.step));
  }
}

export type Keywords = ReadonlyMap<string, Value>;

/** What can be called. */
export class Callable extends PythonObject {
  readonly type: string = 'function';

  constructor(
    readonly name: string,
    readonly call: (args: readonly Value[], keywords: Keywords) => Value,
  ) {
    super();
  }
}

/** `value`, or something else where there is none: `??` would take None for nothing. */
export function orElse<T>(value: Value | undefined, otherwise: () => T): Value | T {
  return value === undefined ? otherwise() : value;
}

export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (Array.isArray(value)) return 'list';
  if (value instanceof PythonObject) return value.type;
  return { boolean: 'bool', bigint: 'int', number: 'float', string: 'str' }[
    typeof value as 'boolean' | 'bigint' | 'number' | 'string'
  ];
}

export function isTruthy(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return value instanceof PythonObject ? value.isTruthy() : Boolean(value);
}

/** What `for` goes over: the items of a list, the characters of a text, the keys of a dict. @throws TypeError */
export function iterate(value: Value): Iterable<Value> {
  if (typeof value === 'string' || Array.isArray(value)) return value;
  const items = value instanceof PythonObject ? value.items() : undefined;
  if (!items) throw typeError(`'${typeName(value)}' object is not iterable`);
  return items;
}

/** `list(value)` @throws TypeError, MemoryError */
export function toList(value: Value): Value[] {
  expectLength(lengthOf(value) ?? 0);
  return [...iterate(value)];
}

/** `len(value)`: the code points of a text. Undefined where a value has no length. */
export function lengthOf(value: Value): number | undefined {
  if (typeof value === 'string') return countCodePoints(value);
  if (Array.isArray(value)) return value.length;
  return value instanceof PythonObject ? value.length : undefined;
}

const SURROGATE = /[\ud800-\udfff]/;

export function countCodePoints(text: string): number {
  return SURROGATE.test(text) ? [...text].length : text.length;
}

/** The characters that Python counts. */
export function codePoints(text: string): ArrayLike<string> & Iterable<string> {
  return SURROGATE.test(text) ? [...text] : text;
}

/** Equal for keys that are equal. @throws TypeError for lists and dicts */
function hashKey(key: Value, depth = 0): string {
  expectDepth(depth);
  if (typeof key === 'string') return `s${key}`;
  if (key === null) return 'None';
  if (typeof key === 'number') return Number.isInteger(key) ? `n${BigInt(key)}` : `f${key}`;
  if (typeof key === 'bigint' || typeof key === 'boolean') return `n${BigInt(key)}`;
  if (key instanceof Tuple) {
    const hash = `t${JSON.stringify(key.values.map((value) => hashKey(value, depth + 1)))}`;
    expectLength(hash.length);
    return hash;
  }
  throw typeError(`unhashable type: '${typeName(key)}'`);
}
