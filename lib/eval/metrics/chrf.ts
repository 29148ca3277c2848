import { isPunctuation, splitWords } from '../../python/text.js';
import { countMatches, countNgrams } from './ngrams.js';

const CHARACTER_ORDER = 6;
const BETA = 2;

export interface ChrfOptions {
  /** Highest order of word n-grams; 0: chrF, 2: chrF++. */
  wordOrder?: number;
}

/** N-grams of each order in hypothesis, reference and both; those of a corpus are added up. */
export interface ChrfStatistics {
  hypothesis: number[];
  reference: number[];
  matches: number[];
}

/** Counts of one segment against the reference that scores best. */
export function chrfStatistics(
  hypothesis: string,
  references: readonly string[],
  options: ChrfOptions = {},
): ChrfStatistics {
  const own = allNgrams(hypothesis, options);
  const candidates = references.map((reference) => compare(own, allNgrams(reference, options)));
  return candidates.reduce((best, next) => (chrf(next) > chrf(best) ? next : best));
}

/** The sum over the segments of a corpus. */
export function addChrfStatistics(segments: Iterable<ChrfStatistics>): ChrfStatistics {
  const sum: ChrfStatistics = { hypothesis: [], reference: [], matches: [] };
  for (const segment of segments) {
    for (const key of ['hypothesis', 'reference', 'matches'] as const) {
      for (const [order, count] of segment[key].entries()) sum[key][order] = (sum[key][order] ?? 0) + count;
    }
  }
  return sum;
}

/** chrF (Popović 2015), 0 to 100, as sacreBLEU 2.6 computes it: precision and recall are means over the orders there are. */
export function chrf({ hypothesis, reference, matches }: ChrfStatistics): number {
  let precision = 0;
  let recall = 0;
  let orders = 0;
  for (const [order, count] of matches.entries()) {
    if (hypothesis[order] === 0 || reference[order] === 0) continue;
    precision += count / hypothesis[order]!;
    recall += count / reference[order]!;
    orders++;
  }
  if (orders === 0 || precision + recall === 0) return 0;
  precision /= orders;
  recall /= orders;
  const factor = BETA ** 2;
  return (100 * (1 + factor) * precision * recall) / (factor * precision + recall);
}

function allNgrams(text: string, { wordOrder = 0 }: ChrfOptions): Map<string, number>[] {
  const words = splitWords(text);
  const characters = [...words.join('')];
  const orders = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  return [
    ...orders(CHARACTER_ORDER).map((order) => countNgrams(characters, order)),
    ...orders(wordOrder).map((order) => countNgrams(words.flatMap(splitPunctuation), order, ' ')),
  ];
}

function compare(own: Map<string, number>[], other: Map<string, number>[]): ChrfStatistics {
  const total = (counts: Map<string, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);
  return {
    // Without any n-gram in the reference, the hypothesis's count for nothing.
    hypothesis: own.map((counts, order) => (other[order]!.size > 0 ? total(counts) : 0)),
    reference: other.map(total),
    matches: own.map((counts, order) => countMatches(counts, other[order]!)),
  };
}

/** A word and the punctuation mark at its end or, without one there, at its beginning. */
function splitPunctuation(word: string): string[] {
  const characters = [...word];
  const [first = '', last = ''] = [characters[0], characters.at(-1)];
  if (characters.length === 1) return [word];
  if (isPunctuation(last)) return [characters.slice(0, -1).join(''), last];
  return isPunctuation(first) ? [first, characters.slice(1).join('')] : [word];
}
