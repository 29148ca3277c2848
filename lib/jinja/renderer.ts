import { bind } from '../python/call.js';
import { str } from '../python/repr.js';
import {
  Callable,
  Dict,
  expectLength,
  isTruthy,
  orElse,
  Tuple,
  toList,
  type Value,
  valueError,
} from '../python/values.js';
import type { Block, Expression, Macro, Statement, Target } from './ast.js';
import type { Environment } from './environment.js';
import { TemplateError } from './errors.js';
import { COST, Evaluator } from './evaluator.js';
import { Loop } from './loop.js';
import { Namespace, Scope } from './scope.js';

/** Macros in macros. */
const MAX_CALLS = 100;

/** Why a block ended before its end. */
type Jump = 'break' | 'continue' | undefined;

type For = Extract<Statement, { kind: 'for' }>;

/** Runs the statements of one rendering of a template. */
export class Renderer {
  private readonly evaluator: Evaluator;
  private calls = 0;

  constructor(environment: Environment) {
    this.evaluator = new Evaluator(environment);
  }

  /** The text of a block. */
  render(body: Block, scope: Scope): string {
    const out = new Output();
    this.run(body, scope, out);
    return out.text();
  }

  private run(body: Block, scope: Scope, out: Output): Jump {
    for (const statement of body) {
      const jump = this.execute(statement, scope, out);
      if (jump) return jump;
    }
    return undefined;
  }

  private execute(statement: Statement, scope: Scope, out: Output): Jump {
    this.evaluator.spend(COST.statement);
    const evaluate = (expression: Expression) => this.evaluator.evaluate(expression, scope.get);
    switch (statement.kind) {
      case 'text':
        out.write(statement.text);
        return undefined;
      case 'print':
        out.write(str(evaluate(statement.value)));
        return undefined;
      case 'if': {
        const branch = statement.branches.find(({ test }) => isTruthy(evaluate(test)));
        return this.run(branch?.body ?? statement.otherwise, scope, out);
      }
      case 'for':
        return this.loop(statement, scope, out);
      case 'set':
        this.assign(statement.target, evaluate(statement.value), scope);
        return undefined;
      case 'set-block':
        this.assign(statement.target, this.filtered(statement.filter, statement.body, scope), scope);
        return undefined;
      case 'filter-block':
        out.write(str(this.filtered(statement.filter, statement.body, scope)));
        return undefined;
      case 'with': {
        const inner = new Scope(scope.get);
        for (const [target, value] of statement.pairs) this.assign(target, evaluate(value), inner);
        return this.run(statement.body, inner, out);
      }
      case 'scope':
        return this.run(statement.body, new Scope(scope.get), out);
      case 'macro':
        scope.set(statement.macro.name, this.macro(statement.macro, scope));
        return undefined;
      case 'call-block': {
        const caller = this.macro(statement.caller, scope);
        const { callee, args } = statement.call;
        const call = { ...args, keywords: [...args.keywords, ['caller', constant(caller)] as const] };
        out.write(str(evaluate({ kind: 'call', callee, args: call })));
        return undefined;
      }
      case 'break':
      case 'continue':
        return statement.kind;
    }
  }

  private loop(statement: For, scope: Scope, out: Output, depth = 0, given?: Value): Jump {
    const { target, values, test, body, otherwise } = statement;
    let items = this.evaluator.toList(orElse(given, () => this.evaluator.evaluate(values, scope.get)));
    if (test) {
      items = items.filter((item) => {
        const inner = new Scope(scope.get);
        this.assign(target, item, inner);
        return isTruthy(this.evaluator.evaluate(test, inner.get));
      });
    }
    const recurse = statement.isRecursive ? this.recursion(statement, scope, depth) : undefined;
    const loop = new Loop(items, depth, recurse, (message) => this.evaluator.undefined(message));
    for (loop.index = 0; loop.index < items.length; loop.index++) {
      this.evaluator.spend(COST.turn);
      const inner = new Scope(scope.get);
      inner.set('loop', loop);
      this.assign(target, items[loop.index]!, inner);
      if (this.run(body, inner, out) === 'break') break;
    }
    return items.length === 0 ? this.run(otherwise, new Scope(scope.get), out) : undefined;
  }

  /** What `loop(values)` does in a loop that is recursive: the loop over these values, as text. */
  private recursion(statement: For, scope: Scope, depth: number): (values: Value) => Value {
    return (values) =>
      this.deeper(() => {
        const out = new Output();
        this.loop(statement, scope, out, depth + 1, values);
        return out.text();
      });
  }

  private macro({ name, parameters, body, reads }: Macro, scope: Scope): Callable {
    const names = parameters.map((parameter) => parameter.name);
    return new Callable(name, (args, keywords) =>
      this.deeper(() => {
        const inner = new Scope(scope.get);
        const own = new Map([...keywords].filter(([keyword]) => names.includes(keyword)));
        const more = new Map([...keywords].filter(([keyword]) => !names.includes(keyword)));
        if (reads.has('caller')) {
          inner.set(
            'caller',
            orElse(more.get('caller'), () => this.evaluator.undefined('No caller defined', 'caller')),
          );
          more.delete('caller');
        }
        if (reads.has('varargs')) inner.set('varargs', new Tuple(args.slice(names.length)));
        if (reads.has('kwargs')) inner.set('kwargs', new Dict(more));
        const positional = reads.has('varargs') ? args.slice(0, names.length) : args;
        const named = reads.has('kwargs') ? own : new Map([...own, ...more]);
        const bound = bind(
          name,
          names.map((one) => `${one}?`),
          positional,
          named,
        );
        for (const [i, { name: parameter, default: standard }] of parameters.entries()) {
          const missing = () =>
            standard
              ? this.evaluator.evaluate(standard, inner.get)
              : this.evaluator.undefined(`parameter '${parameter}' was not provided`, parameter);
          inner.set(parameter, orElse(bound[i], missing));
        }
        return this.render(body, inner);
      }),
    );
  }

  private deeper<T>(call: () => T): T {
    if (++this.calls > MAX_CALLS) throw new TemplateError('macros or loops call one another without an end');
    this.evaluator.spend(COST.call);
    const result = call();
    this.calls--;
    return result;
  }

  private filtered(filter: Expression | undefined, body: Block, scope: Scope): Value {
    const text = this.render(body, new Scope(scope.get));
    return filter ? this.evaluator.evaluate(withValue(filter, text), scope.get) : text;
  }

  private assign(target: Target, value: Value, scope: Scope): void {
    if (target.kind === 'name') {
      scope.set(target.name, value);
    } else if (target.kind === 'attribute') {
      const namespace = scope.get(target.object);
      if (!(namespace instanceof Namespace)) throw new TemplateError('cannot assign attribute on non-namespace object');
      namespace.attributes.set(target.name, value);
    } else {
      const values = toList(value);
      if (values.length !== target.items.length) {
        throw valueError(`${values.length} values cannot be given to ${target.items.length} names`);
      }
      for (const [i, item] of target.items.entries()) this.assign(item, values[i]!, scope);
    }
  }
}

const constant = (value: Value): Expression => ({ kind: 'constant', value });

/** Filters of a block with its text before them. */
function withValue(filter: Expression, text: string): Expression {
  if (filter.kind !== 'filter') return filter;
  return { ...filter, value: filter.value ? withValue(filter.value, text) : constant(text) };
}

/** Text as it comes. */
class Output {
  private readonly parts: string[] = [];
  private length = 0;

  write(text: string): void {
    this.length += text.length;
    expectLength(this.length);
    this.parts.push(text);
  }

  text(): string {
    return this.parts.join('');
  }
}
