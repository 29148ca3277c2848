import type { Block, Call, Expression, Macro, Parameter, Statement, Target } from './ast.js';
import { TemplateError } from './errors.js';
import { ExpressionParser } from './expression-parser.js';
import { type LexerOptions, tokenize } from './lexer.js';

/** Statements that fetch other templates, or make no sense without them. */
const OTHERS = ['extends', 'include', 'import', 'from', 'autoescape', 'do', 'trans', 'debug'];

/** A template's statements. @throws TemplateError with the line, for what is malformed or nested too deeply */
export function parseTemplate(template: string, options: LexerOptions = {}): Block {
  const parser = new StatementParser(tokenize(template, options));
  return parser.block([]);
}

class StatementParser extends ExpressionParser {
  private loops = 0;

  /** Statements up to one of these, which is left to the caller. */
  block(ends: readonly string[]): Block {
    const body: Statement[] = [];
    this.descend(() => {
      for (;;) {
        const token = this.next();
        if (token.type === 'text') body.push({ kind: 'text', text: token.value });
        else if (token.type === 'print') {
          body.push({ kind: 'print', value: this.tuple() });
          this.expectEnd();
        } else if (token.type === 'statement') {
          if (this.current.type === 'name' && ends.includes(this.current.value)) return;
          body.push(...this.statement());
          this.expectEnd();
        } else {
          if (ends.length > 0) throw this.error(`expected '${ends.join("' or '")}' before the end of the template`);
          return;
        }
      }
    });
    return body;
  }

  private statement(): Statement[] {
    const tag = this.name();
    switch (tag) {
      case 'for':
        return [this.forLoop()];
      case 'if':
        return [this.ifElse()];
      case 'set':
        return [this.set()];
      case 'with':
        return [this.with()];
      case 'macro': {
        const [name, parameters] = [this.name(), this.signature()];
        return [{ kind: 'macro', macro: this.macro(name, parameters, 'endmacro') }];
      }
      case 'call':
        return [this.callBlock()];
      case 'filter':
        return [{ kind: 'filter-block', filter: this.filterChain(undefined, true)!, body: this.body('endfilter') }];
      case 'block': {
        const name = this.name();
        this.skipName('scoped');
        const body = this.body('endblock');
        this.skipName(name);
        return [{ kind: 'scope', body }];
      }
      case 'generation':
        // What transformers marks for training is text like any other here.
        return [{ kind: 'scope', body: this.body('endgeneration') }];
      case 'print':
        return this.list('').map((value) => ({ kind: 'print', value }));
      case 'break':
      case 'continue':
        if (this.loops === 0) throw this.error(`'${tag}' stands outside of loops`);
        return [{ kind: tag }];
      default:
        throw this.error(OTHERS.includes(tag) ? `'${tag}' is not to be had here` : `unknown statement '${tag}'`);
    }
  }

  /** The statements up to `end`, which is passed. */
  private body(end: string): Block {
    this.beginBody();
    const body = this.block([end]);
    this.name();
    return body;
  }

  private beginBody(): void {
    this.skip(':');
    this.expectEnd();
  }

  private forLoop(): Statement {
    const target = this.target('in');
    this.expectName('in');
    const values = this.tuple({ ends: ['recursive'], hasConditions: false });
    const test = this.skipName('if') ? this.expression() : undefined;
    const isRecursive = this.skipName('recursive');
    this.beginBody();
    this.loops++;
    const body = this.block(['endfor', 'else']);
    this.loops--;
    const otherwise = this.name() === 'else' ? this.body('endfor') : [];
    return { kind: 'for', target, values, test, isRecursive, body, otherwise };
  }

  private ifElse(): Statement {
    const branches: { test: Expression; body: Block }[] = [];
    for (;;) {
      const test = this.tuple({ hasConditions: false });
      this.beginBody();
      branches.push({ test, body: this.block(['elif', 'else', 'endif']) });
      const tag = this.name();
      if (tag !== 'elif') return { kind: 'if', branches, otherwise: tag === 'else' ? this.body('endif') : [] };
    }
  }

  private set(): Statement {
    const target = this.target();
    if (this.skip('=')) return { kind: 'set', target, value: this.tuple() };
    const filter = this.filterChain(undefined);
    return { kind: 'set-block', target, filter, body: this.body('endset') };
  }

  private with(): Statement {
    const pairs: [Target, Expression][] = [];
    while (this.current.type !== 'end') {
      if (pairs.length > 0) this.expect(',');
      const target = this.target();
      this.expect('=');
      pairs.push([target, this.expression()]);
    }
    return { kind: 'with', pairs, body: this.body('endwith') };
  }

  private callBlock(): Statement {
    const parameters = this.is('(') ? this.signature() : [];
    const call = this.expression();
    if (call.kind !== 'call') throw this.error('expected a call');
    return { kind: 'call-block', call: call as Call, caller: this.macro('caller', parameters, 'endcall') };
  }

  private macro(name: string, parameters: readonly Parameter[], end: string): Macro {
    const [outside, loops] = [this.names, this.loops];
    [this.names, this.loops] = [new Set(), 0];
    const body = this.body(end);
    const reads = this.names;
    [this.names, this.loops] = [new Set([...outside, ...reads]), loops];
    return { name, parameters, body, reads };
  }

  private signature(): Parameter[] {
    this.expect('(');
    const parameters: Parameter[] = [];
    while (!this.is(')')) {
      if (parameters.length > 0) this.expect(',');
      const name = this.name();
      const standard = this.skip('=') ? this.expression() : undefined;
      if (!standard && parameters.at(-1)?.default)
        throw this.error('a parameter without a default follows one with it');
      parameters.push({ name, default: standard });
    }
    this.expect(')');
    return parameters;
  }

  /** Names that are given values, up to the name `end`. */
  private target(end?: string): Target {
    const items: Target[] = [];
    let isTuple = false;
    do {
      if ((end && this.isName(end)) || this.is('=') || this.current.type === 'end') break;
      items.push(this.oneTarget());
      if (this.is(',')) isTuple = true;
    } while (this.skip(','));
    if (items.length === 0) throw this.error('expected a name');
    return isTuple ? { kind: 'tuple', items } : items[0]!;
  }

  private oneTarget(): Target {
    if (this.skip('(')) {
      const inner = this.target();
      this.expect(')');
      return inner;
    }
    const name = this.name();
    if (['true', 'false', 'none', 'True', 'False', 'None'].includes(name)) throw this.error(`'${name}' is a constant`);
    return this.skip('.') ? { kind: 'attribute', object: name, name: this.name() } : { kind: 'name', name };
  }

  private expectEnd(): void {
    const token = this.next();
    if (token.type !== 'end') throw new TemplateError(`line ${token.line}: unexpected '${token.value || 'end'}'`);
  }
}
