import { BtsError } from '../base/errors.js';
import { describeLfsPointer } from '../base/json.js';

export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be';

/** How much of a file tells its encoding. */
export const SAMPLE_BYTES = 2 ** 12;

/** UTF-32 first: in little-endian order its mark starts with that of UTF-16. */
const MARKS: readonly [name: string, bytes: readonly number[], encoding?: Encoding][] = [
  ['UTF-8', [0xef, 0xbb, 0xbf], 'utf-8'],
  ['UTF-32LE', [0xff, 0xfe, 0, 0]],
  ['UTF-32BE', [0, 0, 0xfe, 0xff]],
  ['UTF-16LE', [0xff, 0xfe], 'utf-16le'],
  ['UTF-16BE', [0xfe, 0xff], 'utf-16be'],
];

/** Spaces and line ends alone make for more in UTF-16, as the other byte of each is 0. */
const MIN_SHARE = 0.08;
const MIN_COUNT = 4;

/**
 * The encoding of a text file by its first bytes: UTF-8, or UTF-16 where it starts with a byte order mark.
 *
 * UTF-16 without one is refused rather than guessed at. In most languages each other byte of it is a control character, which
 * UTF-8 text never has so often and so regularly; elsewhere, as in Chinese, its bytes are not valid UTF-8.
 *
 * @throws BAD_DATA naming the encoding, or where there is a Git LFS pointer in place of the text
 */
export function encodingOf(start: Buffer, path: string): Encoding {
  const pointer = describeLfsPointer(start);
  if (pointer) throw new BtsError('BAD_DATA', `'${path}' ${pointer}.`);
  for (const [name, mark, encoding] of MARKS) {
    if (!mark.every((byte, i) => start[i] === byte)) continue;
    if (encoding) return encoding;
    throw otherEncoding(path, name, 'text in');
  }
  const unmarked = wideEncoding(start.subarray(0, SAMPLE_BYTES));
  if (unmarked) throw otherEncoding(path, unmarked, 'text without a byte order mark that looks like');
  return 'utf-8';
}

function otherEncoding(path: string, name: string, what: string): BtsError {
  return new BtsError(
    'BAD_DATA',
    `'${path}' holds ${what} ${name}. Convert it to UTF-8: iconv -f ${name} -t UTF-8 FILE > NEW_FILE.`,
  );
}

/** The encoding with units of 2 or 4 bytes that text seems to be in, by where its control characters lie. */
function wideEncoding(start: Buffer): string | undefined {
  const counts = [0, 0, 0, 0];
  for (const [i, byte] of start.entries()) if (isControl(byte)) counts[i % 4]!++;
  const [a, b, c, d] = counts as [number, number, number, number];
  const [even, odd] = [a + c, b + d];

  const characters = start.length / 4;
  if (c === characters && d === characters && a < characters / 2) return 'UTF-32LE';
  if (a === characters && b === characters && d < characters / 2) return 'UTF-32BE';

  const units = start.length / 2;
  // A few by themselves, as at the ends of strings of C, prove nothing.
  const isWide = (high: number, low: number) =>
    high >= 2 * low && high >= MIN_SHARE * units && high >= Math.min(MIN_COUNT, Math.max(2, units));
  const [isLittle, isBig] = [isWide(odd, even), isWide(even, odd)];
  if (!isLittle && !isBig) return undefined;
  // In Chinese it is the lower bytes that look like control characters; blanks tell the order in every language.
  const [little, big] = [countBlanks(start, 0), countBlanks(start, 1)];
  return (little === big ? isLittle : little > big) ? 'UTF-16LE' : 'UTF-16BE';
}

/** Spaces and line ends in UTF-16 whose lower byte comes at `low`. */
function countBlanks(start: Buffer, low: 0 | 1): number {
  let count = 0;
  for (let at = 0; at + 1 < start.length; at += 2) {
    if (start[at + 1 - low] === 0 && [0x09, 0x0a, 0x0d, 0x20].includes(start[at + low]!)) count++;
  }
  return count;
}

/** Bytes below 32 that do not format text. */
function isControl(byte: number): boolean {
  return byte < 0x20 && !(byte >= 0x09 && byte <= 0x0d) && byte !== 0x1b;
}
