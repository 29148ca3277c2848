import { splitWords } from '../../python/text.js';

/** sacreBLEU's tokenizers that need no model. A text's tokens are the words of what they return. */
const BLEU_TOKENIZERS = { '13a': tokenize13a, intl: tokenizeInternational, char: tokenizeCharacters, none };
export type BleuTokenizer = keyof typeof BLEU_TOKENIZERS;

/** mteval-v13a, the WMT standard: HTML escapes undone, ASCII punctuation split off, but for `.` and `,` between digits. */
function tokenize13a(line: string): string {
  const text = line.replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ');
  const unescaped = text
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  return ` ${unescaped} `
    .replace(/([{-~[-` -&(-+:-@/])/gu, ' $1 ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/gu, '$1 $2 ');
}

/** mteval-v14 with international tokenization: Unicode punctuation and symbols are split off, but between digits. */
function tokenizeInternational(line: string): string {
  return line
    .replace(/(\P{N})(\p{P})/gu, '$1 $2 ')
    .replace(/(\p{P})(\P{N})/gu, ' $1 $2')
    .replace(/(\p{S})/gu, ' $1 ');
}

function tokenizeCharacters(line: string): string {
  return [...line].join(' ');
}

function none(line: string): string {
  return line;
}

/** The tokens of a line. */
export function bleuTokens(line: string, tokenizer: BleuTokenizer): string[] {
  return splitWords(BLEU_TOKENIZERS[tokenizer](line));
}
