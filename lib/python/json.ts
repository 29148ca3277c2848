import { floatText, intText } from './numbers.js';
import { compare } from './operators.js';
import { Dict, expectDepth, expectLength, Tuple, typeError, typeName, type Value } from './values.js';

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const WORD = /true|false|null|NaN|-?Infinity/y;
const BLANK = /[ \t\n\r]*/y;
/** Without escapes, and without control characters, which JSON refuses. */
const PLAIN_STRING = /"[^"\\\p{Cc}]*"/uy;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const WORDS: Record<string, Value> = {
  true: true,
  false: false,
  null: null,
  NaN: Number.NaN,
  Infinity,
  '-Infinity': -Infinity,
};

/**
 * JSON as Python's `json.loads` reads it: integers with all their digits apart from floats, keys in their order (JavaScript
 * puts `"1"` first), the last of equal keys, NaN and Infinity. Throws SyntaxError with the place.
 */
export function jsonLoads(text: string): Value {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.blank();
  if (reader.at < text.length) throw reader.unexpected();
  return value;
}

class Reader {
  at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): Value {
    expectDepth(depth);
    this.blank();
    const character = this.text[this.at];
    if (character === '"') return this.string();
    if (character === '[') return this.list(depth);
    if (character === '{') return this.dict(depth);
    const word = this.match(WORD);
    if (word) return WORDS[word[0]]!;
    const number = this.match(NUMBER);
    if (!number) throw this.unexpected();
    return number[1] === undefined && number[2] === undefined ? BigInt(number[0]) : Number(number[0]);
  }

  blank(): void {
    this.match(BLANK);
  }

  unexpected(): SyntaxError {
    const found = this.at < this.text.length ? JSON.stringify(this.text[this.at]) : 'the end';
    return new SyntaxError(`unexpected ${found} at position ${this.at}`);
  }

  private match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (!match) return undefined;
    this.at = pattern.lastIndex;
    return match;
  }

  private string(): string {
    const plain = this.match(PLAIN_STRING);
    if (plain) return plain[0].slice(1, -1);
    const match = this.match(STRING);
    if (!match) throw new SyntaxError(`a string that begins at position ${this.at} has no end`);
    return JSON.parse(match[0]) as string;
  }

  private list(depth: number): Value[] {
    const values: Value[] = [];
    this.elements(']', () => values.push(this.value(depth + 1)));
    return values;
  }

  private dict(depth: number): Dict {
    const dict = new Dict();
    this.elements('}', () => {
      this.blank();
      if (this.text[this.at] !== '"') throw this.unexpected();
      const key = this.string();
      this.expect(':');
      dict.set(key, this.value(depth + 1));
    });
    return dict;
  }

  private elements(end: string, read: () => void): void {
    this.at++;
    this.blank();
    if (this.text[this.at] === end) {
      this.at++;
      return;
    }
    for (;;) {
      read();
      this.blank();
      if (this.text[this.at] === end) break;
      this.expect(',');
    }
    this.at++;
  }

  private expect(character: string): void {
    this.blank();
    if (this.text[this.at] !== character) throw this.unexpected();
    this.at++;
  }
}

export interface JsonOptions {
  /** Characters beyond ASCII as escapes; default true, as in Python. */
  ensureAscii?: boolean;
  sortKeys?: boolean;
  /** What a level is indented with. */
  indent?: string | undefined;
  /** Default ', ' (',' with an indent) and ': '. */
  separators?: readonly [item: string, key: string] | undefined;
}

/** `json.dumps(value)` @throws TypeError for what JSON has no form of */
export function toJson(value: Value, options: JsonOptions = {}, depth = 0): string {
  expectDepth(depth);
  if (value === null) return 'null';
  if (typeof value === 'boolean') return `${value}`;
  if (typeof value === 'bigint') return intText(value);
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'string') return stringText(value, options);
  const inner = (one: Value) => toJson(one, options, depth + 1);
  if (Array.isArray(value) || value instanceof Tuple) {
    const items = Array.isArray(value) ? value : value.values;
    return enclosed('[', items.map(inner), ']', options, depth);
  }
  if (!(value instanceof Dict)) throw typeError(`Object of type ${typeName(value)} is not JSON serializable`);
  const entries = value.entries();
  if (options.sortKeys) entries.sort(([a], [b]) => compare(a, b));
  const [, colon] = options.separators ?? [', ', ': '];
  const pairs = entries.map(([key, one]) => `${stringText(keyText(key), options)}${colon}${inner(one)}`);
  return enclosed('{', pairs, '}', options, depth);
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return Number.isFinite(value) ? floatText(value) : value > 0 ? 'Infinity' : '-Infinity';
}

function keyText(key: Value): string {
  if (typeof key === 'string') return key;
  if (key === null || typeof key !== 'object') return toJson(key);
  throw typeError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function stringText(text: string, { ensureAscii = true }: JsonOptions): string {
  // JavaScript escapes what is half of a character too, Python does not unless all beyond ASCII is.
  const json = JSON.stringify(text).replace(/\\u(d[89a-f][0-9a-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (!ensureAscii) return json;
  return json.replace(/[\u007f-\uffff]/g, (unit) =>
    unit === '\x7f' ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function enclosed(
  open: string,
  parts: readonly string[],
  close: string,
  { indent, separators }: JsonOptions,
  depth: number,
): string {
  const [comma] = separators ?? [indent === undefined ? ', ' : ','];
  const [line, end] = indent === undefined ? ['', ''] : [`\n${indent.repeat(depth + 1)}`, `\n${indent.repeat(depth)}`];
  const text = parts.length === 0 ? `${open}${close}` : `${open}${line}${parts.join(`${comma}${line}`)}${end}${close}`;
  expectLength(text.length);
  return text;
}
