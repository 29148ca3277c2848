import { methodOf } from '../python/methods.js';
import { calculate, equals, isAtMost, isIn, isLess, signed } from '../python/operators.js';
import { repr, str } from '../python/repr.js';
import { itemOf, sliceOf } from '../python/sequences.js';
import {
  Callable,
  Dict,
  expectLength,
  isTruthy,
  type Keywords,
  lengthOf,
  orElse,
  PythonError,
  PythonObject,
  Tuple,
  toList,
  typeError,
  typeName,
  type Value,
} from '../python/values.js';
import type { Arguments, Comparison, Expression } from './ast.js';
import { TemplateError } from './errors.js';
import type { Variables } from './scope.js';
import { Undefined } from './undefined.js';

/** What one rendering may take, about: the unit is a character or item that is made. */
const MAX_WORK = 2 ** 28;
/** What the steps of a rendering take in this unit. A loop's turn and a macro's call are the dear ones. */
export const COST = { expression: 16, statement: 64, turn: 256, call: 2048 };
/** Reading is cheaper than making. */
const READ = 1 / 16;
const MAX_DEPTH = 1500;

/** A filter or a test: it gets the value before the bar, and what stands in its parentheses. */
export type Filter = (evaluator: Evaluator, value: Value, args: readonly Value[], keywords: Keywords) => Value;

/** What expressions may call. */
export interface Callables {
  /** Whether what is not there fails, or is empty text. */
  readonly isStrict: boolean;
  readonly filters: ReadonlyMap<string, Filter>;
  readonly tests: ReadonlyMap<string, Filter>;
}

/** Evaluates the expressions of one rendering of a template. */
export class Evaluator {
  private work = 0;
  private depth = 0;

  constructor(readonly environment: Callables) {}

  evaluate(expression: Expression, scope: Variables): Value {
    this.spend(COST.expression);
    if (++this.depth > MAX_DEPTH) throw new TemplateError('it is nested too deeply');
    const value = this.result(expression, scope);
    this.depth--;
    return value;
  }

  private result(expression: Expression, scope: Variables): Value {
    const of = (inner: Expression) => this.evaluate(inner, scope);
    switch (expression.kind) {
      case 'constant':
        return expression.value;
      case 'name':
        return orElse(scope(expression.name), () =>
          this.undefined(`'${expression.name}' is undefined`, expression.name),
        );
      case 'list':
        return expression.items.map(of);
      case 'tuple':
        return new Tuple(expression.items.map(of));
      case 'dict':
        return new Dict(expression.pairs.map(([key, value]) => [of(key), of(value)]));
      case 'attribute':
        return this.attribute(of(expression.object), expression.name);
      case 'item':
        return this.item(of(expression.object), of(expression.key));
      case 'slice':
        return this.slice(
          of(expression.object),
          expression.bounds.map((bound) => (bound ? of(bound) : null)),
        );
      case 'call':
        return this.call(of(expression.callee), ...this.args(expression.args, scope));
      case 'filter':
        if (!expression.value) throw new TemplateError(`the filter '${expression.name}' has nothing before it`);
        return this.filter(expression.name, of(expression.value), ...this.args(expression.args, scope));
      case 'test':
        return this.test(expression.name, of(expression.value), ...this.args(expression.args, scope));
      case 'not':
        return !isTruthy(of(expression.value));
      case 'and': {
        const left = of(expression.left);
        return isTruthy(left) ? of(expression.right) : left;
      }
      case 'or': {
        const left = of(expression.left);
        return isTruthy(left) ? left : of(expression.right);
      }
      case 'compare':
        return this.compare(of(expression.first), expression.rest, of);
      case 'concat':
        return this.bounded(expression.parts.map((part) => str(of(part))).join(''));
      case 'calculate': {
        const [left, right] = [this.defined(of(expression.left)), this.defined(of(expression.right))];
        return this.charged(calculate(expression.operator, left, right), left, right);
      }
      case 'sign':
        return signed(expression.operator, this.defined(of(expression.value)));
      case 'condition':
        if (isTruthy(of(expression.test))) return of(expression.then);
        // Jinja's own exception: what is left out here is empty even where all else is strict.
        return expression.otherwise ? of(expression.otherwise) : new Undefined('it has no else', false);
    }
  }

  /** `value.name`: a method, an attribute, or an item of that name. */
  attribute(value: Value, name: string): Value {
    const found = this.method(value, name) ?? (value instanceof PythonObject ? value.attribute(name) : undefined);
    const either = orElse(found, () => (value instanceof PythonObject ? itemOf(value, name) : undefined));
    return orElse(either, () => this.noAttribute(value, name));
  }

  private method(value: Value, name: string): Callable | undefined {
    const method = methodOf(value, name);
    // What a method does with its own value is counted here, where that is at hand.
    if (method) this.spend(sizeOf(value) * READ);
    return method;
  }

  private noAttribute(value: Value, name: string): Undefined {
    return this.undefined(`'${typeName(value)} object' has no attribute ${repr(name)}`);
  }

  /** `value[key]`: an item, or a method of that name. */
  item(value: Value, key: Value): Value {
    const found = itemOf(value, this.defined(key));
    if (found !== undefined) return found;
    if (typeof key !== 'string') return this.undefined(`'${typeName(value)} object' has no element ${repr(key)}`);
    return orElse(this.method(value, key), () => this.noAttribute(value, key));
  }

  private slice(value: Value, [start = null, stop = null, step = null]: readonly Value[]): Value {
    const part = sliceOf(this.defined(value), {
      start: this.defined(start),
      stop: this.defined(stop),
      step: this.defined(step),
    });
    if (part === undefined) return this.undefined(`'${typeName(value)} object' has no slices`);
    return this.charged(part, value);
  }

  call(callee: Value, args: readonly Value[], keywords: Keywords): Value {
    if (callee instanceof Undefined) callee.fail();
    if (!(callee instanceof Callable)) throw typeError(`'${typeName(callee)}' object is not callable`);
    return this.naming(args, () => this.charged(callee.call(args, keywords), ...args));
  }

  filter(name: string, value: Value, args: readonly Value[], keywords: Keywords): Value {
    const filter = this.environment.filters.get(name);
    if (!filter) throw new TemplateError(`there is no filter '${name}'`);
    return this.naming([value, ...args], () => this.charged(filter(this, value, args, keywords), value, ...args));
  }

  test(name: string, value: Value, args: readonly Value[], keywords: Keywords): boolean {
    const test = this.environment.tests.get(name);
    if (!test) throw new TemplateError(`there is no test '${name}'`);
    return this.naming(args, () => isTruthy(this.charged(test(this, value, args, keywords), value)));
  }

  /** That a function cannot do with what is undefined says less than what is undefined. */
  private naming<T>(values: readonly Value[], call: () => T): T {
    try {
      return call();
    } catch (error) {
      const missing = values.find((value) => value instanceof Undefined);
      if (error instanceof PythonError && missing) missing.fail();
      throw error;
    }
  }

  private args({ positional, keywords, spread, keywordSpread }: Arguments, scope: Variables): [Value[], Keywords] {
    const values = positional.map((one) => this.evaluate(one, scope));
    if (spread) values.push(...this.toList(this.evaluate(spread, scope)));
    const named = new Map(keywords.map(([name, value]) => [name, this.evaluate(value, scope)]));
    if (keywordSpread) {
      const more = this.evaluate(keywordSpread, scope);
      if (!(more instanceof Dict)) throw typeError(`argument after ** must be a mapping, not ${typeName(more)}`);
      for (const [key, value] of more.entries()) named.set(str(key), value);
    }
    return [values, named];
  }

  private compare(
    first: Value,
    rest: readonly (readonly [Comparison, Expression])[],
    of: (expression: Expression) => Value,
  ): boolean {
    let left = first;
    for (const [operator, expression] of rest) {
      const right = of(expression);
      this.spend((sizeOf(left) + sizeOf(right)) * READ);
      if (!COMPARE[operator](this.compared(left), this.compared(right))) return false;
      left = right;
    }
    return true;
  }

  private compared(value: Value): Value {
    return value instanceof Undefined && value.isStrict ? value.fail() : value;
  }

  private defined(value: Value): Value {
    return value instanceof Undefined ? value.fail() : value;
  }

  undefined(message: string, variable?: string): Undefined {
    return new Undefined(message, this.environment.isStrict, variable);
  }

  /** The items of a value, for what goes over them. @throws TypeError */
  toList(value: Value): Value[] {
    this.spend(sizeOf(value));
    return toList(value);
  }

  /** Counts the work of an operation by what goes in and what comes out. */
  private charged(result: Value, ...operands: readonly Value[]): Value {
    this.spend(operands.reduce((sum: number, operand) => sum + sizeOf(operand) * READ, sizeOf(result)));
    return result;
  }

  private bounded(text: string): string {
    expectLength(text.length);
    this.spend(text.length);
    return text;
  }

  /** @throws TemplateError where a rendering takes too long */
  spend(work: number): void {
    this.work += work;
    if (this.work > MAX_WORK) throw new TemplateError('it takes too much work: are its loops meant to be that long?');
  }
}

const COMPARE: Record<Comparison, (a: Value, b: Value) => boolean> = {
  '==': equals,
  '!=': (a, b) => !equals(a, b),
  '<': (a, b) => isLess(a, b),
  '<=': isAtMost,
  '>': (a, b) => isLess(b, a),
  '>=': (a, b) => isAtMost(b, a),
  in: isIn,
  'not in': (a, b) => !isIn(a, b),
};

function sizeOf(value: Value): number {
  if (typeof value === 'string') return value.length;
  if (value instanceof Undefined) return 0;
  return value !== null && typeof value === 'object' ? (lengthOf(value) ?? 0) : 0;
}
