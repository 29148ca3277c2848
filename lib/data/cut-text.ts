/**
 * Cuts `text` into pieces of at most `limit` characters (UTF-16 units, 2 or more) whose concatenation is the text. Each cut falls,
 * as far as the second half of a piece has one, after a blank line, else after a line, else after a space, else between
 * any two characters.
 */
export function cutText(text: string, limit: number): string[] {
  const pieces: string[] = [];
  let start = 0;
  while (text.length - start > limit) {
    const end = start + cutPoint(text.slice(start, start + limit));
    pieces.push(text.slice(start, end));
    start = end;
  }
  pieces.push(text.slice(start));
  return pieces;
}

function cutPoint(window: string): number {
  for (const boundary of ['\n\n', '\n', ' ']) {
    const at = window.lastIndexOf(boundary) + boundary.length;
    if (at > window.length / 2) return at;
  }
  const endsInsideCharacter = /[\ud800-\udbff]$/.test(window);
  return window.length - (endsInsideCharacter ? 1 : 0);
}
