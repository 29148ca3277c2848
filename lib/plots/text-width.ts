const NARROW = /[ijlI.,:;|!'` ()[\]]/;
const WIDE = /[mwMW%@]/;
const CAPITAL = /[A-Z&]/;
const PLAIN = /[a-z0-9"$*?/\\_{}-]/;
const SIGN = /[#+<=>^~]/;
const MARK = /\p{M}|\p{Cf}/u;
const BOLD = 1.15;

/**
 * The pixels that a line of text takes at most in common sans-serif fonts of `size` pixels: for each character at least what
 * DejaVu Sans takes, a wide one. A letter with an accent is as wide as without; what is not known is as wide as the widest.
 */
export function textWidth(text: string, size: number, isBold = false): number {
  const parts = Array.from(text.normalize('NFC'), partOfSize);
  return size * (isBold ? BOLD : 1) * parts.reduce((sum, part) => sum + part, 0);
}

function partOfSize(character: string): number {
  const [base = ''] = character.normalize('NFD');
  if (MARK.test(base)) return 0;
  if (WIDE.test(base)) return 1;
  if (NARROW.test(base)) return 0.42;
  if (CAPITAL.test(base)) return 0.8;
  if (PLAIN.test(base)) return 0.65;
  return SIGN.test(base) ? 0.84 : 1.1;
}

const graphemes = new Intl.Segmenter();
// What XML cannot have: control characters, halves of surrogate pairs.
const UNWRITABLE = /\p{Cc}|\p{Cs}|[\ufffe\uffff]/gu;

/** A text of unknown origin as a line for a picture, cut where it would be wider than `width`. */
export function lineWithin(text: string, width: number, size: number, isBold = false): string {
  const line = text.replace(/\s+/g, ' ').trim().replace(UNWRITABLE, '\ufffd');
  if (textWidth(line, size, isBold) <= width) return line;
  let fitting = '';
  for (const { segment } of graphemes.segment(line)) {
    if (textWidth(`${fitting}${segment}…`, size, isBold) > width) break;
    fitting += segment;
  }
  return `${fitting.trimEnd()}…`;
}
