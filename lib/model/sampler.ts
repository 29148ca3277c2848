import type { Random } from '../data/random.js';
import { BtsError } from '../errors.js';

export interface SamplingOptions {
  /** 0 takes the likeliest token; default 1. */
  temperature?: number;
  /** Only the k likeliest tokens; 0: all. */
  topK?: number;
  /** Only the likeliest tokens that together reach this probability; 1: all. */
  topP?: number;
  /** Only tokens at least this fraction as likely as the likeliest; 0: all. */
  minP?: number;
  /** Divides (multiplies, below zero) the logits of tokens seen before, prompt included; 1: off. */
  repetitionPenalty?: number;
}

/** Throws BAD_OPTION for a value out of range. */
export function checkSampling(options: SamplingOptions): Required<SamplingOptions> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  const expect = (holds: boolean, name: string, range: string, value: number) => {
    if (!holds) throw new BtsError('BAD_OPTION', `${name} must be ${range}, not ${value}.`);
  };
  expect(temperature >= 0 && temperature < Infinity, 'temperature', 'a number from 0 on', temperature);
  expect(Number.isInteger(topK) && topK >= 0, 'topK', 'a whole number from 0 on', topK);
  expect(topP > 0 && topP <= 1, 'topP', 'in (0, 1]', topP);
  expect(minP >= 0 && minP <= 1, 'minP', 'in [0, 1]', minP);
  expect(
    repetitionPenalty > 0 && repetitionPenalty < Infinity,
    'repetitionPenalty',
    'a positive number',
    repetitionPenalty,
  );
  return { temperature, topK, topP, minP, repetitionPenalty };
}

/** The token with the largest logit; the lowest id among equals. */
export function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/**
 * Draws the next token from logits [V], in the order of Hugging Face's processors: penalty, temperature, top-k, top-p,
 * min-p. `seen` are the tokens so far. Throws LOSS_NOT_FINITE where the logits hold no number to choose by.
 */
export function sample(
  logits: Float32Array,
  seen: Iterable<number>,
  options: Required<SamplingOptions>,
  random: Random,
): number {
  const { temperature, topK, topP, minP, repetitionPenalty } = options;
  const scores = Float32Array.from(logits);
  if (repetitionPenalty !== 1) {
    for (const id of new Set(seen)) scores[id]! *= scores[id]! > 0 ? 1 / repetitionPenalty : repetitionPenalty;
  }
  if (scores.some(Number.isNaN)) {
    throw new BtsError(
      'LOSS_NOT_FINITE',
      'the model computed NaN logits: its weights are damaged or were trained too hard.',
    );
  }
  if (temperature === 0) return likeliest(scores);

  const likely = Uint32Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const ids = topK > 0 ? likely.subarray(0, topK) : likely;
  const top = scores[ids[0]!]!;
  const weights = Float64Array.from(ids, (id) => Math.exp((scores[id]! - top) / temperature));
  let total = weights.reduce((sum, weight) => sum + weight, 0);

  let count = weights.length;
  if (topP < 1) {
    count = 0;
    for (let mass = 0; count < weights.length && mass < topP * total; count++) mass += weights[count]!;
  }
  // The likeliest has weight 1, so a token's weight is its probability as a fraction of the likeliest's.
  while (count > 1 && weights[count - 1]! < minP) count--;
  total = weights.subarray(0, count).reduce((sum, weight) => sum + weight, 0);

  let draw = random.uniform() * total;
  for (let i = 0; i < count; i++) {
    draw -= weights[i]!;
    if (draw < 0) return ids[i]!;
  }
  return ids[count - 1]!;
}
