/** What Python's `str` methods do where JavaScript's differ. */

/** Characters for which `str.isspace` holds, as a class of regular expressions. */
export const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const LEADING = new RegExp(`^[${SPACE}]+`);
const IS_SPACE = new RegExp(`[${SPACE}]`);
const SPACES = new RegExp(`[${SPACE}]+`);
const ENDS = '\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029';
const LINE = new RegExp(`[^${ENDS}]*(?:\\r\\n|[${ENDS}])|[^${ENDS}]+`, 'g');
const LINE_END = new RegExp(`(?:\\r\\n|[${ENDS}])$`);
const PUNCTUATION = /[!-/:-@[-`{-~]/g;

/** `text.lstrip()` */
export const stripStart = (text: string) => text.replace(LEADING, '');

/** `text.rstrip()`; a search for white space up to the end would begin anew at every word. */
export function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && IS_SPACE.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** `text.strip()` */
export const strip = (text: string) => stripEnd(stripStart(text));

/** `text.split()`: the words between white space. */
export const splitWords = (text: string) => text.split(SPACES).filter((word) => word !== '');

/** `len(re.split(r"\s+", text))`: the words, and one more for white space at either end. */
export const countWords = (text: string) => text.split(SPACES).length;

/** The text without the characters of `string.punctuation`. */
export const withoutPunctuation = (text: string) => text.replace(PUNCTUATION, '');

/** Whether `text` is one of the characters of `string.punctuation`. */
export const isPunctuation = (character: string) => character.length === 1 && character.replace(PUNCTUATION, '') === '';

/** `text.splitlines(keepends)` */
export function splitLines(text: string, keepsEnds = false): string[] {
  const lines = text.match(LINE) ?? [];
  return keepsEnds ? lines : lines.map((line) => line.replace(LINE_END, ''));
}

const DIGRAPHS: Record<string, string> = { Ǆ: 'ǅ', Ǉ: 'ǈ', Ǌ: 'ǋ', Ǳ: 'ǲ' };

/** A character as the first of a word: some have a form of their own for it, neither upper nor lower. */
export function titleCase(character: string): string {
  if (/[\u10d0-\u10ff]/.test(character)) return character;
  const upper = character.toUpperCase();
  if (DIGRAPHS[upper]) return DIGRAPHS[upper];
  if (character === 'ŉ') return 'ʼN';
  // Greek letters with a iota below: it stays below.
  if (/[\u1f80-\u1faf]/.test(character)) return String.fromCharCode(character.charCodeAt(0) | 8);
  const iota = { ᾳ: 'ᾼ', ῃ: 'ῌ', ῳ: 'ῼ', ᾼ: 'ᾼ', ῌ: 'ῌ', ῼ: 'ῼ' }[character];
  if (iota) return iota;
  if (/[\u1fb2-\u1ff7]/.test(character) && upper.endsWith('Ι')) return `${upper.slice(0, -1)}\u0345`;
  const [first, ...rest] = upper;
  return `${first ?? ''}${rest.join('').toLowerCase()}`;
}
