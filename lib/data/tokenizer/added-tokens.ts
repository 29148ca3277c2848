import { badTokenizer } from './bad-tokenizer.js';
import type { AddedToken } from './format.js';
import { escapeRegExp, usable } from './pattern.js';

/** A stretch of text, or the id of the added token found in its place. */
export type Section = string | number;

/** What Rust's regular expressions call \w, as the reference implementation uses them here. */
const WORD = String.raw`[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]`;
const STARTS_WITH_WORD = new RegExp(`^${WORD}`, 'u');
const ENDS_WITH_WORD = new RegExp(`${WORD}$`, 'u');
const SPACE = /\p{White_Space}/u;

/**
 * Finds added tokens in text: the leftmost, and of those that begin there the longest.
 *
 * @param contents for each token what is looked for: its content, which may have been normalized
 * @param splitSpecials whether what looks like a special token stays text
 * @returns the function that cuts a text into sections, none of them an empty text
 * @throws BAD_TOKENIZER where two tokens cannot be told apart
 */
export function findAddedTokens(
  tokens: AddedToken[],
  contents: string[],
  splitSpecials: boolean,
): (text: string) => Section[] {
  const byContent = new Map(contents.map((content, index) => [content, tokens[index]!]));
  if (byContent.size < tokens.length || byContent.has('')) {
    const some = contents.slice(0, 20).join(', ');
    throw badTokenizer(`Of the added tokens, which normalized are [${some}], two look the same or one is empty.`);
  }
  if (tokens.length === 0) return (text) => (text === '' ? [] : [text]);
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const expression = usable(new RegExp(longestFirst.map(escapeRegExp).join('|'), 'gu'), 'added_tokens');
  return (text) => {
    const sections: Section[] = [];
    let done = 0;
    for (const { 0: content, index } of text.matchAll(expression)) {
      const token = byContent.get(content)!;
      if (splitSpecials && token.special) continue;
      let start = index;
      let end = index + content.length;
      if (token.single_word && (endsWithWord(text, start) || startsWithWord(text, end))) continue;
      if (token.lstrip) while (start > done && SPACE.test(text[start - 1]!)) start--;
      if (token.rstrip) while (end < text.length && SPACE.test(text[end]!)) end++;
      if (start > done) sections.push(text.slice(done, start));
      sections.push(token.id);
      done = end;
    }
    if (done < text.length) sections.push(text.slice(done));
    return sections;
  };
}

function endsWithWord(text: string, end: number): boolean {
  return ENDS_WITH_WORD.test(text.slice(Math.max(0, end - 2), end));
}

function startsWithWord(text: string, start: number): boolean {
  return STARTS_WITH_WORD.test(text.slice(start, start + 2));
}
