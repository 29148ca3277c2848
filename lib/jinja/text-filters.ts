import { expectIndex, expectText } from '../python/call.js';
import { toJson } from '../python/json.js';
import { percentFormat } from '../python/percent-format.js';
import { str } from '../python/repr.js';
import { capitalize, center, replace, stripCharacters } from '../python/string-methods.js';
import { SPACE, splitLines, strip } from '../python/text.js';
import {
  codePoints,
  Dict,
  expectLength,
  isTruthy,
  iterate,
  PythonObject,
  Tuple,
  toList,
  typeError,
  type Value,
} from '../python/values.js';
import type { Filter } from './evaluator.js';
import { filter } from './filter-call.js';

/** As many characters past the length are left to a text that would be cut. */
const LEEWAY = 5;

const HTML: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;', '"': '&#34;' };
const escaped = filter([], (value) => str(value).replace(/[&<>'"]/g, (character) => HTML[character]!));

export const TEXT_FILTERS: Readonly<Record<string, Filter>> = {
  capitalize: filter([], (value) => capitalize(str(value))),
  center: filter(['width?'], (value, [width = 80n]) => center(str(value), expectIndex(width, 'width'))),
  e: escaped,
  escape: escaped,
  forceescape: escaped,
  format: (_, value, args, keywords) =>
    percentFormat(str(value), keywords.size > 0 ? new Dict(keywords) : new Tuple(args)),
  indent: filter(['width?', 'first?', 'blank?'], (value, [width = 4n, first = false, blank = false]) =>
    indent(expectText(value, 'indent'), width, isTruthy(first), isTruthy(blank)),
  ),
  lower: filter([], (value) => str(value).toLowerCase()),
  replace: filter(['old', 'new', 'count?'], (value, [old, replacement, count]) =>
    replace(
      str(value),
      str(old!),
      str(replacement!),
      count === undefined || count === null ? -1 : expectIndex(count, 'count'),
    ),
  ),
  safe: filter([], (value) => str(value)),
  string: filter([], (value) => str(value)),
  title: filter([], (value) => title(str(value))),
  tojson: filter(['indent?'], (value, [indent]) => htmlSafeJson(value, indent)),
  trim: filter(['chars?'], (value, [chars]) =>
    chars === undefined || chars === null ? strip(str(value)) : stripCharacters(str(value), chars, true, true),
  ),
  truncate: filter(
    ['length?', 'killwords?', 'end?', 'leeway?'],
    (value, [length = 255n, cutsWords = false, end = '...', leeway = BigInt(LEEWAY)]) =>
      truncate(
        expectText(value, 'truncate'),
        expectIndex(length, 'length'),
        isTruthy(cutsWords),
        str(end),
        expectIndex(leeway, 'leeway'),
      ),
  ),
  upper: filter([], (value) => str(value).toUpperCase()),
  urlencode: filter([], (value) => urlEncode(value)),
  wordcount: filter([], (value) => BigInt(str(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)),
};

const WORD_BREAK = new RegExp(`([-${SPACE}({[<]+)`);

/** Words begin behind blanks, dashes and opening brackets: `it's` becomes `It's`, other than with `title()`. */
function title(text: string): string {
  return text
    .split(WORD_BREAK)
    .map((part) =>
      part.replace(/^(.)(.*)$/su, (_, first: string, rest: string) => first.toUpperCase() + rest.toLowerCase()),
    )
    .join('');
}

function indent(text: string, width: Value, indentsFirst: boolean, indentsBlank: boolean): string {
  const indention = typeof width === 'string' ? width : ' '.repeat(Math.max(expectIndex(width, 'width'), 0));
  const lines = splitLines(`${text}\n`);
  expectLength(text.length + lines.length * indention.length);
  const shown = lines.map((line, i) => (i > 0 && (line !== '' || indentsBlank) ? `${indention}${line}` : line));
  return `${indentsFirst ? indention : ''}${shown.join('\n')}`;
}

function truncate(text: string, length: number, cutsWords: boolean, end: string, leeway: number): string {
  const characters = Array.from(codePoints(text));
  if (characters.length <= length + leeway) return text;
  const kept = length - Array.from(codePoints(end)).length;
  if (kept < 0) throw typeError('the end of a truncated text is longer than it may be');
  const cut = characters.slice(0, kept).join('');
  if (cutsWords) return `${cut}${end}`;
  const space = cut.lastIndexOf(' ');
  return `${space === -1 ? cut : cut.slice(0, space)}${end}`;
}

/** As Jinja writes JSON for pages: keys in order, and nothing that could end a script or an attribute. */
function htmlSafeJson(value: Value, indent: Value | undefined): string {
  const width =
    indent === undefined || indent === null ? undefined : ' '.repeat(Math.max(expectIndex(indent, 'indent'), 0));
  return toJson(value, { sortKeys: true, indent: width }).replace(
    /[<>&']/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function urlEncode(value: Value): string {
  if (typeof value === 'string' || value === null || !(Array.isArray(value) || value instanceof PythonObject)) {
    return quoted(str(value), '/');
  }
  const pairs = value instanceof Dict ? value.entries() : Array.from(iterate(value), (pair) => toList(pair));
  return pairs
    .map(([key, one]) => [key, one].map((part) => quoted(str(part!), '').replaceAll('%20', '+')).join('='))
    .join('&');
}

const quoted = (text: string, safe: string) =>
  encodeURIComponent(text.replace(/\p{Cs}/gu, '\ufffd'))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll(safe === '' ? '\0' : '%2F', safe);
