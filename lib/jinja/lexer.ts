import { parseFloating, parseInteger } from '../python/numbers.js';
import { SPACE } from '../python/text.js';
import { TemplateError } from './errors.js';

export interface LexerOptions {
  /** Whether the newline behind a statement goes. */
  trimBlocks?: boolean;
  /** Whether blanks between the beginning of a line and a statement go. */
  lstripBlocks?: boolean;
  /** Whether a newline at the end of the template stays. */
  keepTrailingNewline?: boolean;
}

/** 'print' and 'statement' begin what 'end' ends. */
export type Token = { line: number } & (
  | { type: 'text' | 'name' | 'string' | 'operator'; value: string }
  | { type: 'number'; value: bigint | number }
  | { type: 'print' | 'statement' | 'end' | 'eof'; value: '' }
);

const TAG = new RegExp(
  `\\{%(?<sign>[-+]?)[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})|\\{(?<kind>[%{#])(?<tagSign>[-+]?)`,
  'g',
);
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{ID_Start}_]\p{ID_Continue}*/uy;
const STRING = /'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,]/y;
const BLANK = new RegExp(`[${SPACE}]+`, 'y');
const CLOSING: Record<string, string> = { '(': ')', '[': ']', '{': '}' };

/** The tokens of a template. @throws TemplateError with the line */
export function tokenize(template: string, options: LexerOptions = {}): Token[] {
  const lexer = new Lexer(template.replace(/\r\n?/g, '\n'), options);
  return lexer.run();
}

class Lexer {
  private readonly source: string;
  private readonly tokens: Token[] = [];
  private readonly newline: string;
  private at = 0;
  /** Counting lines begins where the last token was. */
  private counted = { at: 0, line: 1 };

  constructor(
    source: string,
    private readonly options: LexerOptions,
  ) {
    this.source = options.keepTrailingNewline ? source : source.replace(/\n$/, '');
    this.newline = options.trimBlocks ? '\\n?' : '';
  }

  run(): Token[] {
    while (this.at < this.source.length) {
      TAG.lastIndex = this.at;
      const tag = TAG.exec(this.source);
      const { sign, kind, tagSign } = tag?.groups ?? {};
      const text = this.source.slice(this.at, tag?.index);
      this.pushText(tag ? this.trimmed(text, sign ?? tagSign ?? '', kind) : text);
      this.at = tag ? TAG.lastIndex : this.source.length;
      if (!tag) break;
      if (kind === '#') this.skipPast(new RegExp(`\\+#\\}|-#\\}[${SPACE}]*|#\\}${this.newline}`, 'g'), 'comment');
      else if (kind === undefined) this.raw();
      else this.code(kind);
    }
    this.push({ type: 'eof', value: '' });
    return this.tokens;
  }

  /** The text before a tag, by the tag's sign and what the template's options say. */
  private trimmed(text: string, sign: string, kind: string | undefined): string {
    if (sign === '-') return text.replace(new RegExp(`[${SPACE}]+$`), '');
    if (sign === '+' || !this.options.lstripBlocks || kind === '{') return text;
    const start = text.lastIndexOf('\n') + 1;
    const beginsLine = start > 0 || this.at === 0 || this.source[this.at - 1] === '\n';
    return beginsLine && new RegExp(`^[${SPACE}]+$`).test(text.slice(start)) ? text.slice(0, start) : text;
  }

  private raw(): void {
    const blank = `[${SPACE}]*`;
    const end = new RegExp(
      `\\{%(?<sign>[-+]?)${blank}endraw${blank}(?:\\+%\\}|-%\\}${blank}|%\\}${this.newline})`,
      'g',
    );
    const start = this.at;
    const match = this.skipPast(end, 'raw block');
    const next = this.at;
    this.at = start;
    this.pushText(this.trimmed(this.source.slice(start, match.index), match.groups!.sign!, undefined));
    this.at = next;
  }

  private skipPast(end: RegExp, what: string): RegExpExecArray {
    end.lastIndex = this.at;
    const match = end.exec(this.source);
    if (!match) throw this.error(`a ${what} has no end`);
    this.at = end.lastIndex;
    return match;
  }

  private code(kind: string): void {
    this.push({ type: kind === '{' ? 'print' : 'statement', value: '' });
    const end =
      kind === '{'
        ? new RegExp(`-\\}\\}[${SPACE}]*|\\}\\}`, 'y')
        : new RegExp(`\\+%\\}|-%\\}[${SPACE}]*|%\\}${this.newline}`, 'y');
    const open: string[] = [];
    for (;;) {
      this.match(BLANK);
      if (this.at >= this.source.length) throw this.error('a tag has no end');
      if (open.length === 0 && this.match(end)) break;
      this.token(open);
    }
    this.push({ type: 'end', value: '' });
  }

  private token(open: string[]): void {
    let found: string | undefined;
    const is = (pattern: RegExp) => {
      found = this.match(pattern);
      return found !== undefined;
    };
    if (is(FLOAT)) this.push({ type: 'number', value: parseFloating(found!)! });
    else if (is(INTEGER)) this.push({ type: 'number', value: this.integer(found!) });
    else if (is(NAME)) this.push({ type: 'name', value: found! });
    else if (is(STRING)) this.push({ type: 'string', value: this.unescaped(found!.slice(1, -1)) });
    else if (is(OPERATOR)) this.operator(found!, open);
    else throw this.error(`unexpected '${String.fromCodePoint(this.source.codePointAt(this.at)!)}'`);
  }

  private operator(operator: string, open: string[]): void {
    if (CLOSING[operator]) open.push(CLOSING[operator]);
    if (/[)\]}]/.test(operator) && open.pop() !== operator) throw this.error(`unexpected '${operator}'`);
    this.push({ type: 'operator', value: operator });
  }

  private integer(text: string): bigint {
    const value = parseInteger(text, 0);
    if (value === undefined) throw this.error('a number has too many digits');
    return value;
  }

  /** Escapes as Python has them in texts; a backslash before anything else stays. */
  private unescaped(text: string): string {
    const pattern = /\\(?:(\n)|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|(.))/gs;
    return text.replace(pattern, (whole, newline, x, u, long, octal, character) => {
      if (newline) return '';
      if (octal) return String.fromCharCode(Number.parseInt(octal, 8));
      const hex = x ?? u ?? long;
      if (hex) {
        const code = Number.parseInt(hex, 16);
        if (code > 0x10ffff) throw this.error(`'${whole}' is no character`);
        return String.fromCodePoint(code);
      }
      if (/^\\[xuUN]/.test(whole)) throw this.error(`the escape '${whole}' is incomplete, or names a character`);
      return ESCAPES[character] ?? whole;
    });
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.source)?.[0];
    this.at += match?.length ?? 0;
    return match;
  }

  private pushText(value: string): void {
    if (value !== '') this.push({ type: 'text', value });
  }

  private push(token: Token extends infer T ? (T extends Token ? Omit<T, 'line'> : never) : never): void {
    this.tokens.push({ ...token, line: this.line() } as Token);
  }

  private line(): number {
    let { at, line } = this.counted;
    for (; at < this.at; at++) if (this.source[at] === '\n') line++;
    this.counted = { at, line };
    return line;
  }

  private error(message: string): TemplateError {
    return new TemplateError(`line ${this.line()}: ${message}`);
  }
}

const ESCAPES: Record<string, string> = {
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};
