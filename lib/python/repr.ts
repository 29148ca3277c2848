import { floatText, intText } from './numbers.js';
import { expectDepth, expectLength, PythonObject, type Value } from './values.js';

/** `str(value)`: what a template prints. @throws MemoryError, RecursionError where it has no end */
export function str(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof PythonObject && value.str) return value.str();
  return repr(value);
}

/** `repr(value)` @throws MemoryError, RecursionError where it has no end */
export function repr(value: Value): string {
  let depth = 0;
  const write = (inner: Value): string => {
    expectDepth(++depth);
    const text = textOf(inner, write);
    depth--;
    expectLength(text.length);
    return text;
  };
  return write(value);
}

function textOf(value: Value, inner: (value: Value) => string): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return intText(value);
  if (typeof value === 'number') return floatText(value);
  if (typeof value === 'string') return quote(value);
  return Array.isArray(value) ? `[${value.map(inner).join(', ')}]` : value.repr(inner);
}

/** What `str.isprintable` refuses, the backslash, and both quotes. */
const SPECIAL = /[\\'"]|[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu;
const NAMED: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** `repr(text)`: in single quotes, but for a text that has them and no double ones. */
export function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(SPECIAL, (character) => {
    if (character === ' ') return character;
    if (character === "'" || character === '"') return character === mark ? `\\${character}` : character;
    return NAMED[character] ?? escapeCodePoint(character);
  });
  return `${mark}${body}${mark}`;
}

/** `ascii(value)` */
export const ascii = (value: Value) => repr(value).replace(/[\u0080-\u{10ffff}]/gu, escapeCodePoint);

function escapeCodePoint(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, '0');
  if (code < 0x100) return `\\x${hex(2)}`;
  return code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
