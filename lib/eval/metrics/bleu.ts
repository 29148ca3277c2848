import { stripEnd } from '../../python/text.js';
import { type BleuTokenizer, bleuTokens } from './bleu-tokenizers.js';
import { countMatches, countNgrams } from './ngrams.js';

const ORDER = 4;

/** What BLEU needs to know of a segment; those of a corpus are added up. */
export interface BleuStatistics {
  /** Matching n-grams for n = 1..4, clipped, and all n-grams of the hypothesis. */
  matches: number[];
  totals: number[];
  hypothesisLength: number;
  referenceLength: number;
}

export interface BleuScore extends BleuStatistics {
  /** 0 to 100. */
  score: number;
  precisions: number[];
  brevityPenalty: number;
}

/** Counts of one segment against one or several references. */
export function bleuStatistics(
  hypothesis: string,
  references: readonly string[],
  tokenizer: BleuTokenizer = '13a',
): BleuStatistics {
  const words = bleuTokens(stripEnd(hypothesis), tokenizer);
  const referenceWords = references.map((reference) => bleuTokens(stripEnd(reference), tokenizer));
  const matches: number[] = [];
  const totals: number[] = [];
  for (let n = 1; n <= ORDER; n++) {
    const most = new Map<string, number>();
    for (const reference of referenceWords) {
      for (const [ngram, count] of countNgrams(reference, n, ' ')) {
        most.set(ngram, Math.max(count, most.get(ngram) ?? 0));
      }
    }
    matches.push(countMatches(countNgrams(words, n, ' '), most));
    totals.push(Math.max(0, words.length - n + 1));
  }
  const lengths = referenceWords.map(({ length }) => length);
  return { matches, totals, hypothesisLength: words.length, referenceLength: closest(lengths, words.length) };
}

/** The sum over the segments of a corpus. */
export function addBleuStatistics(segments: Iterable<BleuStatistics>): BleuStatistics {
  const sum: BleuStatistics = {
    matches: new Array<number>(ORDER).fill(0),
    totals: new Array<number>(ORDER).fill(0),
    hypothesisLength: 0,
    referenceLength: 0,
  };
  for (const segment of segments) {
    for (let n = 0; n < ORDER; n++) {
      sum.matches[n]! += segment.matches[n]!;
      sum.totals[n]! += segment.totals[n]!;
    }
    sum.hypothesisLength += segment.hypothesisLength;
    sum.referenceLength += segment.referenceLength;
  }
  return sum;
}

/**
 * BLEU (Papineni et al. 2002) as sacreBLEU 2.6 computes it: uniform weights over n = 1..4, exponential smoothing of orders
 * without a match. `effectiveOrder` leaves out orders that a short segment does not have: for scores of sentences.
 */
export function bleu(statistics: BleuStatistics, { effectiveOrder = false } = {}): BleuScore {
  const { matches, totals, hypothesisLength, referenceLength } = statistics;
  const precisions = new Array<number>(ORDER).fill(0);
  const isShort = hypothesisLength < referenceLength;
  const brevityPenalty = !isShort ? 1 : hypothesisLength > 0 ? Math.exp(1 - referenceLength / hypothesisLength) : 0;
  const result = { ...statistics, precisions, brevityPenalty };
  if (matches.every((count) => count === 0)) return { ...result, score: 0 };

  let order = ORDER;
  let smooth = 1;
  for (let n = 0; n < ORDER && totals[n]! > 0; n++) {
    if (effectiveOrder) order = n + 1;
    if (matches[n] === 0) smooth *= 2;
    precisions[n] = matches[n] === 0 ? 100 / (smooth * totals[n]!) : (100 * matches[n]!) / totals[n]!;
  }
  const logarithms = precisions.slice(0, order).map(Math.log);
  const mean = logarithms.reduce((sum, value) => sum + value, 0) / order;
  return { ...result, score: brevityPenalty * Math.exp(mean) };
}

/** The reference length closest to the hypothesis's; the shorter of two. */
function closest(lengths: readonly number[], length: number): number {
  const distance = (reference: number) => Math.abs(reference - length);
  return lengths.reduce((best, next) => {
    const nearer = distance(next) - distance(best);
    return nearer < 0 || (nearer === 0 && next < best) ? next : best;
  });
}
