import { TemplateError } from './errors.js';
import type { Token } from './lexer.js';

/** A place among tokens, and the questions that a parser asks there. */
export class TokenCursor {
  private at = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  get current(): Token {
    return this.tokens[this.at]!;
  }

  get following(): Token {
    return this.tokens[this.at + 1] ?? this.current;
  }

  next(): Token {
    const token = this.current;
    if (token.type !== 'eof') this.at++;
    return token;
  }

  is(operator: string): boolean {
    return this.current.type === 'operator' && this.current.value === operator;
  }

  isName(name: string): boolean {
    return this.current.type === 'name' && this.current.value === name;
  }

  skip(operator: string): boolean {
    return this.skipAny([operator]) !== undefined;
  }

  skipName(name: string): boolean {
    if (!this.isName(name)) return false;
    this.next();
    return true;
  }

  expect(operator: string): void {
    if (!this.skip(operator)) throw this.error(`expected '${operator}', found '${this.current.value || 'the end'}'`);
  }

  expectName(name: string): void {
    if (!this.skipName(name)) throw this.error(`expected '${name}', found '${this.current.value || 'the end'}'`);
  }

  name(): string {
    const token = this.current;
    if (token.type !== 'name') throw this.error(`expected a name, found '${token.value || 'the end'}'`);
    this.next();
    return token.value;
  }

  /** The one of these operators that stands here, which is passed. */
  skipAny(operators: readonly string[]): string | undefined {
    const { type, value } = this.current;
    if (type !== 'operator' || !operators.includes(value)) return undefined;
    this.next();
    return value;
  }

  error(message: string): TemplateError {
    return new TemplateError(`line ${this.current.line}: ${message}`);
  }
}
