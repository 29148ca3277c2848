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

/** The text with blanks on one side, `width` columns wide or wider. */
export function padToWidth(text: string, width: number, isRight: boolean): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return isRight ? space + text : text + space;
}

/** The parts of a text between which a line may end: behind a blank or punctuation. */
export const unbroken = (text: string) => text.split(/(?<=[\s/_.,;:-])/);

/** A text as lines of at most `width` columns, broken within a word only where that is longer. */
export function foldToWidth(text: string, width: number): string[] {
  const fits = (line: string) => displayWidth(line.trimEnd()) <= width;
  const lines: string[] = [];
  let line = '';
  const add = (part: string) => {
    if (line !== '' && !fits(line + part)) {
      lines.push(line);
      line = '';
    }
    line += part;
  };
  for (const part of unbroken(text)) {
    if (fits(part)) add(part);
    else for (const { segment } of graphemes.segment(part)) add(segment);
  }
  return [...lines, line].map((each) => each.trimEnd());
}

/** A text of unknown origin without what moves the cursor or changes colors. */
export function singleLine(text: string): string {
  return stripVTControlCharacters(text).replace(/\p{Cc}+/gu, ' ');
}

function columns(grapheme: string): number {
  return WIDE.test(grapheme) ? 2 : 1;
}
