import { stripVTControlCharacters } from 'node:util';

const graphemes = new Intl.Segmenter();
const WIDE =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\u3000-\u303f\uff01-\uff60]/u;

/** The columns that a text takes in a terminal; escape sequences take none, East Asian letters and emoji two. */
export function displayWidth(text: string): number {
  return [...graphemes.segment(stripVTControlCharacters(text))].reduce(
    (width, { segment }) => width + columns(segment),
    0,
  );
}

/** The longest beginning of a text that fits into `width` columns, ending in '…' if that is not all of it. */
export function truncateToWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let fitting = '';
  let left = width - 1;
  for (const { segment } of graphemes.segment(text)) {
    left -= columns(segment);
    if (left < 0) break;
    fitting += segment;
  }
  return width > 0 ? `${fitting}…` : '';
}

/** A text of unknown origin without what moves the cursor or changes colors. */
export function singleLine(text: string): string {
  return stripVTControlCharacters(text).replace(/\p{Cc}+/gu, ' ');
}

function columns(grapheme: string): number {
  return WIDE.test(grapheme) ? 2 : 1;
}
