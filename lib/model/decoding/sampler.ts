import { BtsError } from '../../base/errors.js';
import type { OptionNames } from '../../base/options-check.js';
import type { Random } from '../../base/random.js';
import { IGNORED } from '../../data/packing.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

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

export const SAMPLING_OPTIONS: OptionNames<SamplingOptions> = {
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
};

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

/** How the next token of one sequence is drawn. */
export interface Draw {
  options: Required<SamplingOptions>;
  /** The tokens so far, for the repetition penalty. */
  seen: readonly number[];
  random: Random;
}

/**
 * Draws a token from each row of logits [N, V] on their device, in the order of Hugging Face's processors: penalty,
 * temperature, top-k, top-p, min-p. Where tokens are equally likely at the edge of a cut, those with the lowest ids stay.
 * A row is a slot of the batch; for a slot without a sequence `draws` has undefined, and the token drawn means nothing.
 *
 * Throws LOSS_NOT_FINITE where a logit is NaN, or the largest of a row not finite.
 */
export async function sample(logits: Tensor, draws: readonly (Draw | undefined)[]): Promise<Int32Array> {
  const { device } = logits;
  const vocabulary = logits.shape[1]!;
  const numbers = Float64Array.from(draws.flatMap((draw) => (draw ? numbersOf(draw, vocabulary) : ANY)));
  using seen = seenTokens(device, draws);
  using ids = device.empty([draws.length], 'i32');
  device.run('sample', { ids, logits, seen, draws: numbers });
  const drawn = await ids.readIntegers();
  if (draws.some((draw, n) => draw && drawn[n]! < 0)) {
    throw new BtsError(
      'LOSS_NOT_FINITE',
      'the model computed logits that are not numbers: its weights are damaged or were trained too hard.',
    );
  }
  return drawn;
}

const ANY = [0, 0, 1, 0, 1, 0];

function numbersOf({ options, random }: Draw, vocabulary: number): number[] {
  const { temperature, topK, topP, minP, repetitionPenalty } = options;
  const uniform = temperature === 0 ? 0 : random.uniform();
  return [temperature, Math.min(topK, vocabulary), topP, minP, repetitionPenalty, uniform];
}

/** The tokens that a penalty falls on, [N, most of a row]; undefined where there are none. */
function seenTokens(device: Device, draws: readonly (Draw | undefined)[]): Tensor | undefined {
  const rows = draws.map((draw) => [...new Set(draw && draw.options.repetitionPenalty !== 1 ? draw.seen : [])]);
  const most = Math.max(0, ...rows.map(({ length }) => length));
  if (most === 0) return undefined;
  const ids = new Int32Array(rows.length * most).fill(IGNORED);
  for (const [n, row] of rows.entries()) ids.set(row, n * most);
  return device.tensor(ids, [rows.length, most]);
}
