import { expectIndex, expectText, type Parameters } from './call.js';
import { pad } from './format-spec.js';
import { splitLines, splitWords, strip, stripEnd, stripStart, titleCase } from './text.js';
import {
  codePoints,
  countCodePoints,
  expectLength,
  isTruthy,
  iterate,
  Tuple,
  typeError,
  typeName,
  type Value,
  valueError,
} from './values.js';

type Arguments = readonly (Value | undefined)[];
type Method = [parameters: Parameters, call: (text: string, ...args: Arguments) => Value];

const POSITIONS = ['sub', 'start?', 'end?'];
const WIDTH = ['width', 'fillchar?'];

/** The methods of `str` but for `format`, which takes any arguments, and those that are about bytes and tables of characters. */
export const STRING_METHODS: Readonly<Record<string, Method>> = {
  capitalize: [[], (text) => capitalize(text)],
  casefold: [[], (text) => text.toUpperCase().toLowerCase()],
  center: [WIDTH, (text, width, fill) => center(text, expectIndex(width, 'width'), fillOf(fill))],
  count: [POSITIONS, (text, sub, start, end) => BigInt(count(text, expectText(sub, 'sub'), start, end))],
  endswith: [
    POSITIONS,
    (text, suffix, start, end) => hasAffix(text, suffix, start, end, (part, s) => part.endsWith(s)),
  ],
  expandtabs: [['tabsize?'], (text, size) => expandTabs(text, size === undefined ? 8 : expectIndex(size, 'tabsize'))],
  find: [POSITIONS, (text, sub, start, end) => BigInt(find(text, expectText(sub, 'sub'), start, end, 'indexOf'))],
  index: [POSITIONS, (text, sub, start, end) => found(find(text, expectText(sub, 'sub'), start, end, 'indexOf'))],
  isalnum: [[], (text) => /^[\p{L}\p{N}]+$/u.test(text)],
  isalpha: [[], (text) => /^\p{L}+$/u.test(text)],
  isascii: [[], (text) => !/[^\p{ASCII}]/u.test(text)],
  isdecimal: [[], (text) => /^\p{Nd}+$/u.test(text)],
  isdigit: [[], (text) => isDigit(text)],
  isidentifier: [[], (text) => /^[\p{ID_Start}_]\p{ID_Continue}*$/u.test(text)],
  islower: [[], (text) => isLower(text)],
  isnumeric: [[], (text) => /^\p{N}+$/u.test(text)],
  isprintable: [[], (text) => !/[\p{C}\p{Zl}\p{Zp}\p{Zs}]/u.test(text.replaceAll(' ', ''))],
  isspace: [[], (text) => text !== '' && strip(text) === ''],
  istitle: [[], (text) => /[\p{Uppercase}\p{Lt}]/u.test(text) && title(text) === text],
  isupper: [[], (text) => isUpper(text)],
  join: [['iterable'], (text, items) => join(text, items!)],
  ljust: [WIDTH, (text, width, fill) => padded(text, expectIndex(width, 'width'), '<', fillOf(fill))],
  lower: [[], (text) => text.toLowerCase()],
  lstrip: [['chars?'], (text, chars) => (isNone(chars) ? stripStart(text) : stripCharacters(text, chars, true, false))],
  partition: [['sep'], (text, sep) => partition(text, separator(sep), 'indexOf')],
  removeprefix: [['prefix'], (text, prefix) => withoutPrefix(text, expectText(prefix, 'prefix'))],
  removesuffix: [['suffix'], (text, suffix) => withoutSuffix(text, expectText(suffix, 'suffix'))],
  replace: [
    ['old', 'new', 'count?'],
    (text, old, replacement, most) =>
      replace(
        text,
        expectText(old, 'old'),
        expectText(replacement, 'new'),
        most === undefined ? -1 : expectIndex(most, 'count'),
      ),
  ],
  rfind: [POSITIONS, (text, sub, start, end) => BigInt(find(text, expectText(sub, 'sub'), start, end, 'lastIndexOf'))],
  rindex: [POSITIONS, (text, sub, start, end) => found(find(text, expectText(sub, 'sub'), start, end, 'lastIndexOf'))],
  rjust: [WIDTH, (text, width, fill) => padded(text, expectIndex(width, 'width'), '>', fillOf(fill))],
  rpartition: [['sep'], (text, sep) => partition(text, separator(sep), 'lastIndexOf')],
  rsplit: [['sep?', 'maxsplit?'], (text, sep, most) => split(text, sep, most, true)],
  rstrip: [['chars?'], (text, chars) => (isNone(chars) ? stripEnd(text) : stripCharacters(text, chars, false, true))],
  split: [['sep?', 'maxsplit?'], (text, sep, most) => split(text, sep, most, false)],
  splitlines: [['keepends?'], (text, keeps) => splitLines(text, isTruthy(keeps ?? false))],
  startswith: [
    POSITIONS,
    (text, prefix, start, end) => hasAffix(text, prefix, start, end, (part, p) => part.startsWith(p)),
  ],
  strip: [['chars?'], (text, chars) => (isNone(chars) ? strip(text) : stripCharacters(text, chars, true, true))],
  swapcase: [[], (text) => swapCase(text)],
  title: [[], (text) => title(text)],
  upper: [[], (text) => text.toUpperCase()],
  zfill: [['width'], (text, width) => zeroFill(text, expectIndex(width, 'width'))],
};

/** `text.capitalize()` */
export function capitalize(text: string): string {
  const [first = '', ...rest] = text;
  return `${titleCase(first)}${lowerAfter(first, rest.join(''))}`;
}

/** A sigma that ends a word looks different: what stands before decides it. */
const lowerAfter = (before: string, text: string) =>
  `${before}${text}`.toLowerCase().slice(before.toLowerCase().length);

/** `text.title()`: every letter after something that is none begins a word, so `it's` becomes `It'S`. */
const title = (text: string) => text.replace(/\p{Cased}+/gu, capitalize);

function swapCase(text: string): string {
  return Array.from(text, (character) =>
    character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase(),
  ).join('');
}

export const isLower = (text: string) => /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);
export const isUpper = (text: string) => /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);

/** `text.isdigit()`: decimal digits, and those above, below and in circles. */
const isDigit = (text: string) =>
  /^[\p{Nd}²³¹\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490]+$/u.test(text);

function fillOf(fill: Value | undefined): string {
  if (fill === undefined) return ' ';
  if (typeof fill === 'string' && countCodePoints(fill) === 1) return fill;
  throw typeError('The fill character must be exactly one character long');
}

function padded(text: string, width: number, align: string, fill: string): string {
  expectLength(width);
  return pad(text, width, align, fill);
}

/** CPython gives the odd space to the left where the width is odd. */
export function center(text: string, width: number, fill = ' '): string {
  expectLength(width);
  const missing = Math.max(width - countCodePoints(text), 0);
  const left = (missing >> 1) + (missing & width & 1);
  return `${fill.repeat(left)}${text}${fill.repeat(missing - left)}`;
}

function zeroFill(text: string, width: number): string {
  expectLength(width);
  const sign = /^[+-]/.exec(text)?.[0] ?? '';
  return `${sign}${pad(text.slice(sign.length), width - sign.length, '>', '0')}`;
}

function expandTabs(text: string, size: number): string {
  let column = 0;
  let length = 0;
  return Array.from(text, (character) => {
    if (character === '\n' || character === '\r') column = 0;
    const shown = character === '\t' ? ' '.repeat(size > 0 ? size - (column % size) : 0) : character;
    if (shown !== '\n' && shown !== '\r') column += character === '\t' ? shown.length : 1;
    length += shown.length;
    expectLength(length);
    return shown;
  }).join('');
}

/** The part between two positions of code points, and where it begins; undefined where they are the wrong way round. */
function part(
  text: string,
  start: Value | undefined,
  end: Value | undefined,
): { text: string; from: number } | undefined {
  if (start === undefined && end === undefined) return { text, from: 0 };
  const characters = codePoints(text);
  const { length } = characters;
  const at = (value: Value | undefined, otherwise: number) => {
    if (value === undefined || value === null) return otherwise;
    const index = expectIndex(value, 'slice index');
    return index < 0 ? Math.max(index + length, 0) : index;
  };
  const [from, to] = [at(start, 0), Math.min(at(end, length), length)];
  return from > to ? undefined : { text: Array.from(characters).slice(from, to).join(''), from };
}

function find(
  text: string,
  sub: string,
  start: Value | undefined,
  end: Value | undefined,
  direction: 'indexOf' | 'lastIndexOf',
): number {
  const searched = part(text, start, end);
  const at = searched ? searched.text[direction](sub) : -1;
  return at === -1 ? -1 : searched!.from + countCodePoints(searched!.text.slice(0, at));
}

function found(at: number): bigint {
  if (at === -1) throw valueError('substring not found');
  return BigInt(at);
}

function count(text: string, sub: string, start: Value | undefined, end: Value | undefined): number {
  const searched = part(text, start, end);
  if (!searched) return 0;
  return sub === '' ? countCodePoints(searched.text) + 1 : searched.text.split(sub).length - 1;
}

function hasAffix(
  text: string,
  affix: Value | undefined,
  start: Value | undefined,
  end: Value | undefined,
  test: (part: string, affix: string) => boolean,
): boolean {
  const searched = part(text, start, end);
  const affixes = affix instanceof Tuple ? affix.values : [affix];
  return affixes.some((one) => {
    const wanted = expectText(one, 'first arg');
    return searched !== undefined && test(searched.text, wanted);
  });
}

/** `separator.join(items)` @throws TypeError for items that are no texts */
export function join(separator: string, items: Value): string {
  const texts: string[] = [];
  let length = 0;
  for (const item of iterate(items)) {
    if (typeof item !== 'string') {
      throw typeError(`sequence item ${texts.length}: expected str instance, ${typeName(item)} found`);
    }
    length += item.length + separator.length;
    expectLength(length - separator.length);
    texts.push(item);
  }
  return texts.join(separator);
}

function partition(text: string, sep: string, direction: 'indexOf' | 'lastIndexOf'): Tuple {
  const at = text[direction](sep);
  if (at === -1) return new Tuple(direction === 'indexOf' ? [text, '', ''] : ['', '', text]);
  return new Tuple([text.slice(0, at), sep, text.slice(at + sep.length)]);
}

function separator(sep: Value | undefined): string {
  const text = expectText(sep, 'sep');
  if (text === '') throw valueError('empty separator');
  return text;
}

const withoutPrefix = (text: string, prefix: string) => (text.startsWith(prefix) ? text.slice(prefix.length) : text);
const withoutSuffix = (text: string, suffix: string) =>
  suffix !== '' && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;

/** `text.replace(old, new, count)`; a negative count is none. */
export function replace(text: string, old: string, replacement: string, most: number): string {
  const parts = old === '' ? ['', ...text, ''] : text.split(old);
  const times = most < 0 ? parts.length - 1 : Math.min(most, parts.length - 1);
  expectLength(text.length + times * replacement.length);
  return (
    parts.slice(0, times + 1).join(replacement) +
    parts
      .slice(times + 1)
      .map((rest) => old + rest)
      .join('')
  );
}

function split(text: string, sep: Value | undefined, maxSplit: Value | undefined, isRight: boolean): string[] {
  const most = isNone(maxSplit) ? -1 : expectIndex(maxSplit, 'maxsplit');
  return isNone(sep) ? wordsWithRest(text, most, isRight) : splitAt(text, separator(sep), most, isRight);
}

function splitAt(text: string, sep: string, most: number, isRight: boolean): string[] {
  const parts = text.split(sep);
  if (most < 0 || parts.length <= most + 1) return parts;
  if (isRight) return [parts.slice(0, parts.length - most).join(sep), ...parts.slice(parts.length - most)];
  return [...parts.slice(0, most), parts.slice(most).join(sep)];
}

/** Words, and behind (or before) so many of them the rest as it is. */
function wordsWithRest(text: string, most: number, isRight: boolean): string[] {
  const words = splitWords(text);
  if (most < 0 || words.length <= most) return words;
  const kept = isRight ? words.slice(words.length - most) : words.slice(0, most);
  let rest = isRight ? stripEnd(text) : stripStart(text);
  for (const word of isRight ? kept.toReversed() : kept) {
    rest = isRight ? stripEnd(rest.slice(0, -word.length)) : stripStart(rest.slice(word.length));
  }
  if (rest === '') return kept;
  return isRight ? [rest, ...kept] : [...kept, rest];
}

const isNone = (value: Value | undefined): value is null | undefined => value === undefined || value === null;

/** `text.strip(chars)` */
export function stripCharacters(text: string, chars: Value, atStart: boolean, atEnd: boolean): string {
  const set = new Set(expectText(chars, 'strip arg'));
  const characters = [...text];
  let [start, end] = [0, characters.length];
  while (atStart && start < end && set.has(characters[start]!)) start++;
  while (atEnd && end > start && set.has(characters[end - 1]!)) end--;
  return characters.slice(start, end).join('');
}
