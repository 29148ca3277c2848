/** What Python's `str` methods do where JavaScript's differ. */

/** Characters for which `str.isspace` holds, as a class of regular expressions. */
export const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);
const SPACES = new RegExp(`[${SPACE}]+`);
const PUNCTUATION = /[!-/:-@[-`{-~]/g;

/** `text.rstrip()` */
export const stripEnd = (text: string) => text.replace(TRAILING, '');

/** `text.strip()` */
export const strip = (text: string) => stripEnd(text.replace(LEADING, ''));

/** `text.split()`: the words between white space. */
export const splitWords = (text: string) => text.split(SPACES).filter((word) => word !== '');

/** `len(re.split(r"\s+", text))`: the words, and one more for white space at either end. */
export const countWords = (text: string) => text.split(SPACES).length;

/** The text without the characters of `string.punctuation`. */
export const withoutPunctuation = (text: string) => text.replace(PUNCTUATION, '');

/** Whether `text` is one of the characters of `string.punctuation`. */
export const isPunctuation = (character: string) => character.length === 1 && character.replace(PUNCTUATION, '') === '';
