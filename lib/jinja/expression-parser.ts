import type { Operator } from '../python/operators.js';
import { MAX_DEPTH, type Value } from '../python/values.js';
import type { Arguments, Comparison, Expression } from './ast.js';
import { TokenCursor } from './cursor.js';
import { TemplateError } from './errors.js';

const CONSTANTS = new Map<string, Value>([
  ['true', true],
  ['True', true],
  ['false', false],
  ['False', false],
  ['none', null],
  ['None', null],
]);
const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];
/** An expression of more parts than this would not fit the stack. */
const MAX_CHAIN = 1000;

/** Jinja's expressions, by its own grammar: `**` groups to the left, tests bind as filters do, comparisons chain. */
export class ExpressionParser extends TokenCursor {
  /** The variables that were read so far. */
  protected names = new Set<string>();
  private depth = 0;

  expression(hasConditions = true): Expression {
    return this.descend(() => (hasConditions ? this.condition() : this.or()));
  }

  /** An expression, or several with commas between them, which are a tuple. */
  tuple({
    ends = [],
    hasConditions = true,
    inParentheses = false,
  }: {
    ends?: readonly string[];
    hasConditions?: boolean;
    inParentheses?: boolean;
  } = {}): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    do {
      if (this.current.type === 'end' || this.is(')') || ends.some((end) => this.isName(end))) break;
      items.push(this.expression(hasConditions));
      if (this.is(',')) isTuple = true;
    } while (this.skip(','));
    if (!isTuple && items[0]) return items[0];
    if (!isTuple && !inParentheses)
      throw this.error(`expected an expression, found '${this.current.value || 'the end'}'`);
    return { kind: 'tuple', items };
  }

  private condition(): Expression {
    let then = this.or();
    for (let i = 0; this.skipName('if'); i++) {
      this.expectChain(i);
      const test = this.or();
      const otherwise = this.skipName('else') ? this.descend(() => this.condition()) : undefined;
      then = { kind: 'condition', test, then, otherwise };
    }
    return then;
  }

  private or(): Expression {
    return this.chain(
      () => this.and(),
      () => this.skipName('or'),
      (left, right) => ({ kind: 'or', left, right }),
    );
  }

  private and(): Expression {
    return this.chain(
      () => this.not(),
      () => this.skipName('and'),
      (left, right) => ({ kind: 'and', left, right }),
    );
  }

  private not(): Expression {
    if (this.skipName('not')) return { kind: 'not', value: this.descend(() => this.not()) };
    return this.compare();
  }

  private compare(): Expression {
    const first = this.sum();
    const rest: [Comparison, Expression][] = [];
    for (;;) {
      const operator = this.comparison();
      if (!operator) break;
      rest.push([operator, this.sum()]);
    }
    return rest.length === 0 ? first : { kind: 'compare', first, rest };
  }

  private comparison(): Comparison | undefined {
    const operator = this.skipAny(COMPARISONS);
    if (operator) return operator as Comparison;
    if (this.skipName('in')) return 'in';
    if (!this.isName('not') || this.following.value !== 'in') return undefined;
    this.next();
    this.next();
    return 'not in';
  }

  private sum(): Expression {
    return this.calculation(['+', '-'], () => this.concat());
  }

  private concat(): Expression {
    const parts = [this.product()];
    while (this.skip('~')) parts.push(this.product());
    return parts.length === 1 ? parts[0]! : { kind: 'concat', parts };
  }

  private product(): Expression {
    return this.calculation(['*', '/', '//', '%'], () => this.calculation(['**'], () => this.unary()));
  }

  private calculation(operators: readonly string[], operand: () => Expression): Expression {
    return this.chain(
      operand,
      () => this.skipAny(operators),
      (left, right, operator) => ({
        kind: 'calculate',
        operator: operator as Operator,
        left,
        right,
      }),
    );
  }

  /** Operands with an operator between them, grouped to the left. */
  private chain<Found>(
    operand: () => Expression,
    operator: () => Found | undefined | false,
    combine: (left: Expression, right: Expression, operator: Found) => Expression,
  ): Expression {
    let left = operand();
    for (let i = 0; ; i++) {
      const found = operator();
      if (!found) return left;
      this.expectChain(i);
      left = combine(left, operand(), found);
    }
  }

  private unary(hasFilters = true): Expression {
    const operator = this.skipAny(['-', '+']) as '-' | '+' | undefined;
    const value: Expression = operator
      ? { kind: 'sign', operator, value: this.descend(() => this.unary(false)) }
      : this.primary();
    const whole = this.postfix(value);
    return hasFilters ? this.filters(whole) : whole;
  }

  private primary(): Expression {
    const token = this.next();
    switch (token.type) {
      case 'name': {
        const constant = CONSTANTS.get(token.value);
        if (constant !== undefined) return { kind: 'constant', value: constant };
        this.names.add(token.value);
        return { kind: 'name', name: token.value };
      }
      case 'string': {
        let { value } = token;
        while (this.current.type === 'string') value += this.next().value;
        return { kind: 'constant', value };
      }
      case 'number':
        return { kind: 'constant', value: token.value };
      case 'operator':
        if (token.value === '(') {
          const inner = this.tuple({ inParentheses: true });
          this.expect(')');
          return inner;
        }
        if (token.value === '[') return { kind: 'list', items: this.list(']') };
        if (token.value === '{') return this.dict();
    }
    throw new TemplateError(`line ${token.line}: unexpected '${token.value || 'end'}'`);
  }

  /** Expressions with commas between them up to `end`, which is passed; '' for the end of the statement. */
  list(end: string): Expression[] {
    const items: Expression[] = [];
    const isEnd = () => (end === '' ? this.current.type === 'end' : this.is(end));
    while (!isEnd()) {
      if (items.length > 0) this.expect(',');
      if (isEnd()) break;
      items.push(this.expression());
    }
    if (end !== '') this.expect(end);
    return items;
  }

  private dict(): Expression {
    const pairs: [Expression, Expression][] = [];
    while (!this.is('}')) {
      if (pairs.length > 0) this.expect(',');
      if (this.is('}')) break;
      const key = this.expression();
      this.expect(':');
      pairs.push([key, this.expression()]);
    }
    this.expect('}');
    return { kind: 'dict', pairs };
  }

  private postfix(value: Expression): Expression {
    let whole = value;
    for (let i = 0; ; i++) {
      this.expectChain(i);
      if (this.skip('.')) whole = this.attribute(whole);
      else if (this.skip('[')) whole = this.subscript(whole);
      else if (this.is('(')) whole = { kind: 'call', callee: whole, args: this.args() };
      else return whole;
    }
  }

  private attribute(object: Expression): Expression {
    const token = this.next();
    if (token.type === 'name') return { kind: 'attribute', object, name: token.value };
    if (token.type === 'number' && typeof token.value === 'bigint') {
      return { kind: 'item', object, key: { kind: 'constant', value: token.value } };
    }
    throw this.error('expected a name or a number behind the dot');
  }

  private subscript(object: Expression): Expression {
    if (this.is(']')) throw this.error('expected an index');
    const bounds: (Expression | undefined)[] = [undefined];
    let isSlice = false;
    while (!this.is(']') && !this.is(',')) {
      if (this.skip(':')) {
        isSlice = true;
        bounds.push(undefined);
      } else {
        if (bounds.at(-1)) throw this.error("expected ']'");
        bounds[bounds.length - 1] = this.expression();
      }
    }
    if (bounds.length > 3) throw this.error('a slice has a start, a stop and a step');
    if (isSlice) {
      this.expect(']');
      return { kind: 'slice', object, bounds };
    }
    if (!this.skip(',')) {
      this.expect(']');
      return { kind: 'item', object, key: bounds[0]! };
    }
    return { kind: 'item', object, key: { kind: 'tuple', items: [bounds[0]!, ...this.list(']')] } };
  }

  private args(): Arguments {
    this.expect('(');
    const positional: Expression[] = [];
    const keywords: [string, Expression][] = [];
    let spread: Expression | undefined;
    let keywordSpread: Expression | undefined;
    for (let i = 0; !this.is(')'); i++) {
      if (i > 0) this.expect(',');
      if (this.is(')')) break;
      if (keywordSpread) throw this.error('nothing may follow **');
      if (this.skip('**')) {
        keywordSpread = this.expression();
      } else if (this.skip('*')) {
        if (spread) throw this.error('only one * is allowed');
        spread = this.expression();
      } else if (this.current.type === 'name' && this.following.value === '=') {
        const name = this.name();
        this.next();
        keywords.push([name, this.expression()]);
      } else {
        if (keywords.length > 0 || spread) throw this.error('arguments without a name come first');
        positional.push(this.expression());
      }
    }
    this.expect(')');
    return { positional, keywords, spread, keywordSpread };
  }

  private filters(value: Expression): Expression {
    let whole = value;
    for (let i = 0; ; i++) {
      this.expectChain(i);
      if (this.is('|')) whole = this.filterChain(whole)!;
      else if (this.skipName('is')) whole = this.test(whole);
      else if (this.is('(')) whole = { kind: 'call', callee: whole, args: this.args() };
      else return whole;
    }
  }

  /** Filters one after the other, of a block where there is no value; `isFirst` where the first has no bar. */
  filterChain(value: Expression | undefined, isFirst = false): Expression | undefined {
    let whole = value;
    for (let i = 0; (isFirst && i === 0) || this.skip('|'); i++) {
      this.expectChain(i);
      const name = this.dottedName();
      whole = { kind: 'filter', value: whole, name, args: this.is('(') ? this.args() : NO_ARGUMENTS };
    }
    return whole;
  }

  private test(value: Expression): Expression {
    const isNegated = this.skipName('not');
    const name = this.dottedName();
    const test: Expression = { kind: 'test', value, name, args: this.testArguments() };
    return isNegated ? { kind: 'not', value: test } : test;
  }

  /** A test's one argument needs no parentheses: `is divisibleby 3`. */
  private testArguments(): Arguments {
    if (this.is('(')) return this.args();
    const { type, value } = this.current;
    const begins = ['name', 'string', 'number'].includes(type) || this.is('[') || this.is('{');
    if (!begins || (type === 'name' && ['else', 'or', 'and'].includes(value))) return NO_ARGUMENTS;
    if (this.isName('is')) throw this.error('tests do not chain');
    return { positional: [this.postfix(this.primary())], keywords: [] };
  }

  private dottedName(): string {
    let name = this.name();
    while (this.skip('.')) name += `.${this.name()}`;
    return name;
  }

  /** Runs `parse` one level deeper. @throws TemplateError where that is too deep */
  descend<T>(parse: () => T): T {
    if (++this.depth > MAX_DEPTH) throw this.error('it is nested too deeply');
    const result = parse();
    this.depth--;
    return result;
  }

  private expectChain(length: number): void {
    if (length > MAX_CHAIN) throw this.error('it has too many parts');
  }
}

const NO_ARGUMENTS: Arguments = { positional: [], keywords: [] };
