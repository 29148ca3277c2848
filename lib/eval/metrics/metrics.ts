import type { Item, Metric } from '../task.js';
import { addBleuStatistics, bleu, bleuStatistics } from './bleu.js';
import { addChrfStatistics, chrf, chrfStatistics } from './chrf.js';
import { bootstrapError, mean, meanError } from './standard-error.js';

/** lm-eval's number of resamples for metrics over a corpus of texts. */
const TEXT_RESAMPLES = 100;
/** And for others, of which many items get fewer: more draws than this take seconds. */
const RESAMPLES = 100_000;
const MOST_DRAWS = 5e7;

/** The mean of numbers between 0 and 1, such as the share of right answers. */
export function fraction(key: string): Metric {
  return overNumbers({ key, higherIsBetter: true, scale: 100 }, mean, meanError);
}

/** BLEU over all documents, with the 13a tokenizer. */
export function corpusBleu(key: string): Metric {
  return overTexts(key, bleuStatistics, (parts) => bleu(addBleuStatistics(parts)).score);
}

/** chrF over all documents. */
export function corpusChrf(key: string): Metric {
  return overTexts(key, chrfStatistics, (parts) => chrf(addChrfStatistics(parts)));
}

/** exp(-mean log-probability) of items that count the same. */
export function meanPerplexity(key: string): Metric {
  const score = (values: readonly number[]) => Math.exp(-mean(values));
  return overNumbers({ key, higherIsBetter: false, scale: 1 }, score, (values) => {
    const resamples = Math.min(RESAMPLES, Math.ceil(MOST_DRAWS / values.length / 1000) * 1000);
    return bootstrapError(values, score, resamples);
  });
}

/** exp(-sum of log-probabilities / sum of weights): perplexity per token, word or byte. */
export function perplexity(key: string): Metric {
  return ratio(key, (nats) => Math.exp(-nats));
}

/** -(sum of log-probabilities / sum of weights) in bits. */
export function bits(key: string): Metric {
  return ratio(key, (nats) => -nats / Math.LN2);
}

function overNumbers(
  metric: Omit<Metric, 'aggregate'>,
  score: (values: readonly number[]) => number,
  error: (values: readonly number[]) => number | null,
): Metric {
  return {
    ...metric,
    aggregate(items) {
      const values = items as readonly number[];
      return { value: score(values), standardError: error(values) };
    },
  };
}

function overTexts<Statistics>(
  key: string,
  count: (hypothesis: string, references: readonly string[]) => Statistics,
  score: (parts: readonly Statistics[]) => number,
): Metric {
  return {
    key,
    higherIsBetter: true,
    scale: 1,
    aggregate(items) {
      const parts = (items as readonly Extract<Item, { hypothesis: string }>[]).map(({ hypothesis, references }) =>
        count(hypothesis, references),
      );
      return { value: score(parts), standardError: bootstrapError(parts, score, TEXT_RESAMPLES) };
    },
  };
}

function ratio(key: string, finish: (quotient: number) => number): Metric {
  return {
    key,
    higherIsBetter: false,
    scale: 1,
    aggregate(items) {
      const parts = items as readonly Extract<Item, { sum: number }>[];
      const total = (field: 'sum' | 'weight') => parts.reduce((sum, part) => sum + part[field], 0);
      return { value: finish(total('sum') / total('weight')), standardError: null };
    },
  };
}
