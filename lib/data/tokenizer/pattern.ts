import * as huggingFace from '@huggingface/tokenizers';
import { BtsError } from '../../base/errors.js';
import { compiledNow } from '../../base/regex.js';
import { withinTime } from '../../python/within-time.js';
import { badTokenizer } from './bad-tokenizer.js';

/** The package's declarations leave out file extensions, so that TypeScript does not find what it exports. */
const { SplitPreTokenizer } = huggingFace as unknown as {
  SplitPreTokenizer: new (config: { pattern: Pattern }) => { pattern: RegExp };
};

/** A pattern of tokenizer.json: a literal string, or a regular expression in Oniguruma's (Ruby's) syntax. */
export type Pattern = { String: string } | { Regex: string };

/** A case-insensitive group of plain letters, as all known files have it: `(?i:'s|'t|'re|'ve|'m|'ll|'d)`. */
const CASELESS_LETTERS = /\(\?i:([A-Za-z'|]*)\)/g;
/** Letter sequences that a single character stands for when case is ignored, such as U+FB00 for ff. */
const LIGATURES = /ff|fi|fl|ss|st/i;

/** What JavaScript has not got, and the package would drop or let through with another meaning. */
const NOT_REPRODUCED: readonly [name: string, unlike: RegExp][] = [
  ['a possessive quantifier', /[*+?]\+/],
  ['an atomic group', /\(\?>/],
  ['an inline option or an unknown group', /\(\?(?![:=!]|<[=!A-Za-z_])/],
  ['\\G', /\\G/],
];

/**
 * The global JavaScript expression that matches what Oniguruma matches, translated by @huggingface/tokenizers.
 * Characters newer than the Unicode version of either engine may fall into other classes (`process.versions.unicode`).
 *
 * @throws BAD_TOKENIZER where there is no such expression
 */
export function compilePattern(pattern: Pattern, at: string): RegExp {
  if ('String' in pattern) return usable(new RegExp(escapeRegExp(pattern.String), 'gu'), at);
  const source = pattern.Regex.replace(CASELESS_LETTERS, (group, letters: string) =>
    LIGATURES.test(letters) ? group : spellOutCases(letters),
  );
  rejectUnlike(source, at);
  return usable(translated(source, pattern.Regex, at), at);
}

function translated(source: string, given: string, at: string): RegExp {
  try {
    return new SplitPreTokenizer({ pattern: { Regex: source } }).pattern;
  } catch (error) {
    throw badTokenizer(`${at}: the regular expression ${given} cannot be translated: ${error}`, error);
  }
}

/** An expression that can be looked for. @throws BAD_TOKENIZER */
export function usable(expression: RegExp, at: string): RegExp {
  try {
    return compiledNow(expression);
  } catch (cause) {
    const { length } = expression.source;
    throw badTokenizer(`${at}: an expression of ${length} characters is larger than can be compiled.`, cause);
  }
}

/** Repetitions without a small limit. */
const REPETITION = /[*+]|\{\d+,(?:\d{2,})?\}/g;

/**
 * Whether what looks for an expression may try very many ways to divide a short text: a group is repeated that has repetitions or
 * choices in it, or more than two repetitions follow one another.
 */
export function mayGoOnForEver(pattern: Pattern): boolean {
  if ('String' in pattern) return false;
  const contents: string[] = [''];
  const bare = withoutLetters(pattern.Regex.replace(/\\[pP]\{[^}]*\}/g, 'x'));
  if (bare.split('|').some((choice) => (choice.match(REPETITION) ?? []).length > 2)) return true;
  for (let index = 0; index < bare.length; index++) {
    const sign = bare[index]!;
    if (sign === '(') contents.push('');
    else if (sign === ')' && contents.length > 1) {
      const group = contents.pop()!;
      const isRepeated = /[*+{]/.test(bare[index + 1] ?? '');
      if (isRepeated && /[*+{?|]/.test(group.replace(/^\?(?:[:=!]|<[=!])/, ''))) return true;
      contents.push(`${contents.pop()}${group}`);
    } else contents.push(`${contents.pop()}${sign}`);
  }
  return false;
}

/** Two repetitions in a row try at most the cube of this, in a second; from here on it matters little what a limit costs. */
const LONG_TEXT = 512;

/**
 * Runs expressions on a text. They need a stack in proportion to their longest match, and some never end: those that may not are
 * given 5 s, and 10 more for each million characters.
 *
 * @throws BAD_DATA if the stack overflows, BAD_TOKENIZER if the time is over
 */
export function withinLimits<T>(text: string, apply: () => T, mayGoOn: boolean): T {
  try {
    if (!mayGoOn && text.length < LONG_TEXT) return apply();
    const fail = (seconds: number) =>
      badTokenizer(`its regular expressions did not end within ${seconds} s on a text of ${text.length} characters.`);
    return withinTime(apply, fail, Math.ceil(5000 + text.length / 100));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `A word in a text of ${text.length} characters is too long: ${error.message}. Encode it in parts.`;
    throw new BtsError('BAD_DATA', message, { cause: error });
  }
}

export function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

/**
 * `(?i:` in classes. The package folds ASCII only, but Oniguruma follows Unicode, where the long s and the Kelvin sign
 * are case variants of s and k.
 */
function spellOutCases(letters: string): string {
  const variants: Record<string, string> = { s: 'ſ', k: '\u212a' };
  const classes = letters.replace(/[A-Za-z]/g, (letter) => {
    const lower = letter.toLowerCase();
    return `[${lower}${letter.toUpperCase()}${variants[lower] ?? ''}]`;
  });
  return `(?:${classes})`;
}

/** An expression with an x for each escape and each class, so that what is left stands for itself. */
const withoutLetters = (source: string): string => source.replace(/\\[^G]/gu, 'x').replace(/\[[^\]]*\]/g, 'x');

function rejectUnlike(source: string, at: string): void {
  const bare = withoutLetters(source);
  for (const [name, unlike] of NOT_REPRODUCED) {
    if (!unlike.test(bare)) continue;
    throw badTokenizer(`${at}: the regular expression ${source} uses ${name}, which cannot be reproduced.`);
  }
}
