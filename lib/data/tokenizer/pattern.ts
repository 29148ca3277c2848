import * as huggingFace from '@huggingface/tokenizers';
import { BtsError } from '../../base/errors.js';
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
  if ('String' in pattern) return new RegExp(escapeRegExp(pattern.String), 'gu');
  const source = pattern.Regex.replace(CASELESS_LETTERS, (group, letters: string) =>
    LIGATURES.test(letters) ? group : spellOutCases(letters),
  );
  rejectUnlike(source, at);
  try {
    return new SplitPreTokenizer({ pattern: { Regex: source } }).pattern;
  } catch (error) {
    throw badTokenizer(`${at}: the regular expression ${pattern.Regex} cannot be translated: ${error}`, error);
  }
}

/** Runs `apply` on a text; expressions need a stack in proportion to their longest match. @throws BAD_DATA if it overflows */
export function withinStack<T>(text: string, apply: () => T): T {
  try {
    return apply();
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

function rejectUnlike(source: string, at: string): void {
  const bare = source.replace(/\\[^G]/gu, 'x').replace(/\[[^\]]*\]/g, 'x');
  for (const [name, unlike] of NOT_REPRODUCED) {
    if (!unlike.test(bare)) continue;
    throw badTokenizer(`${at}: the regular expression ${source} uses ${name}, which cannot be reproduced.`);
  }
}
