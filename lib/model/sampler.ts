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
  const { temperature, repetitionPenalty } = options;
  const scores = new Float32Array(logits);
  if (repetitionPenalty !== 1) {
    for (const id of new Set(seen)) scores[id]! *= scores[id]! > 0 ? 1 / repetitionPenalty : repetitionPenalty;
  }
  const best = likeliest(scores);
  const top = scores[best]!;
  if (!Number.isFinite(top) || scores.includes(Number.NaN)) {
    throw new BtsError(
      'LOSS_NOT_FINITE',
      'the model computed logits that are not numbers: its weights are damaged or were trained too hard.',
    );
  }
  if (temperature === 0) return best;

  // A token's weight is its probability as a fraction of the likeliest's.
  const weights = new Float64Array(scores.length);
  for (let id = 0; id < weights.length; id++) weights[id] = Math.exp((scores[id]! - top) / temperature);
  dropUnlikely(weights, options);
  return draw(weights, random);
}

/** Sets the weights of tokens to zero that top-k, top-p and min-p leave out; of equals at the edge the lowest ids stay. */
function dropUnlikely(weights: Float64Array, { topK, topP, minP }: Required<SamplingOptions>): void {
  if (topK === 0 && topP === 1 && minP === 0) return;
  // Numbers alone sort ten times as fast as ids by their weights do; a large vocabulary would block the event loop.
  const falling = weights.slice().sort().reverse();
  let count = topK > 0 ? Math.min(topK, falling.length) : falling.length;
  if (topP < 1) {
    const enough = topP * sum(falling.subarray(0, count));
    const candidates = count;
    count = 0;
    for (let mass = 0; count < candidates && mass < enough; count++) mass += falling[count]!;
  }
  while (count > 1 && falling[count - 1]! < minP) count--;

  const least = falling[count - 1]!;
  let equals = count - falling.indexOf(least);
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id]!;
    if (weight < least || (weight === least && equals-- <= 0)) weights[id] = 0;
  }
}

function draw(weights: Float64Array, random: Random): number {
  let rest = random.uniform() * sum(weights);
  let last = 0;
  for (let id = 0; id < weights.length; id++) {
    if (weights[id] === 0) continue;
    rest -= weights[id]!;
    if (rest < 0) return id;
    last = id;
  }
  return last;
}

function sum(values: Float64Array): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
