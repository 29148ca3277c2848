import { createHash } from 'node:crypto';
import { BtsError } from '../base/errors.js';
import { cutText } from './cut-text.js';
import type { Document } from './documents.js';

/** With fewer documents than this, whole ones are too coarse to set a few percent of them aside. */
const MIN_DOCUMENTS = 100;
const PIECE_CHARACTERS = 4096;
const BITS = 53;

/**
 * How a domain's text is divided into training and held-out text. Each unit is drawn by the hash of its own text, so
 * the same one falls on the same side wherever it stands and whatever else is read.
 */
export interface Split {
  /**
   * Whole documents; or, where there are fewer than 100 of them (a book, a few files), pieces of documents of at most
   * 4,096 characters cut at blank lines or line ends, so that even one long file yields held-out text.
   */
  unit: 'document' | 'piece';
  /** Units whose `textPosition` lies below this are held out. */
  threshold: number;
}

/** A stretch of text that lies on one side of the split. */
export interface SplitText {
  text: string;
  heldOut: boolean;
}

/**
 * A number in [0, 1) that depends on the text alone: the first 53 bits of its SHA-256. White space around the text does
 * not count, as it differs between file formats.
 */
export function textPosition(text: string): number {
  const bits = createHash('sha256').update(text.trim(), 'utf8').digest().readBigUInt64BE();
  return Number(bits >> BigInt(64 - BITS)) / 2 ** BITS;
}

/** Whether a text belongs to the held-out `fraction` (0 to 1) of all texts. */
export function isHeldOut(text: string, fraction: number): boolean {
  return textPosition(text) < fraction;
}

/**
 * Decides how to divide `documents` so that about `fraction` of them are held out and neither side is empty: where the
 * hashes put everything on one side, the one unit nearest to the threshold goes to the other.
 *
 * @throws BAD_DATA where there is no text, or too little of it to have two sides
 */
export async function planSplit(documents: AsyncIterable<Document>, fraction: number, domain: string): Promise<Split> {
  const whole = new Positions();
  const pieces = new Positions();
  for await (const { text } of documents) {
    if (whole.count < MIN_DOCUMENTS) for (const piece of pieceTexts(text)) pieces.add(textPosition(piece));
    whole.add(textPosition(text));
  }
  if (whole.count === 0) {
    throw new BtsError('BAD_DATA', `There is no text in domain '${domain}': its files hold white space at most.`);
  }
  const unit = whole.count < MIN_DOCUMENTS ? 'piece' : 'document';
  const { lowest, highest } = unit === 'piece' ? pieces : whole;
  if (fraction > 0 && lowest === highest) {
    throw new BtsError(
      'BAD_DATA',
      `Domain '${domain}' has too little text to hold some of it out: ${whole.count} document(s), no two pieces of which differ. Give it more text, or set heldOutFraction to 0.`,
    );
  }
  const threshold = fraction === 0 ? 0 : Math.max(lowest + 2 ** -BITS, Math.min(fraction, highest));
  return { unit, threshold };
}

/** Divides a document; neighbouring pieces on the same side stay together. */
export function splitDocument(text: string, { unit, threshold }: Split): SplitText[] {
  const parts: SplitText[] = [];
  for (const piece of unit === 'document' ? [text] : pieceTexts(text)) {
    const heldOut = isHeldOut(piece, threshold);
    const last = parts.at(-1);
    if (last?.heldOut === heldOut) last.text += piece;
    else parts.push({ text: piece, heldOut });
  }
  return parts;
}

function pieceTexts(text: string): string[] {
  return cutText(text, PIECE_CHARACTERS);
}

class Positions {
  count = 0;
  lowest = 1;
  highest = 0;

  add(position: number): void {
    this.count++;
    this.lowest = Math.min(this.lowest, position);
    this.highest = Math.max(this.highest, position);
  }
}
