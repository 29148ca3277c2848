import { BtsError } from '../../base/errors.js';
import { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Decoder } from './decoder.js';
import type { KeyValueCache } from './key-value-cache.js';
import { locateTokens } from './locate-tokens.js';
import { padded } from './padding.js';
import { uploaded } from './standing.js';

/** A place in what is appended: the token at `index` of sequence `sequence`. */
export interface Place {
  sequence: number;
  index: number;
}

/** Logits of a large vocabulary would outgrow the model: they are computed for this many places at a time. */
const PLACES = 64;

/** What becomes of the logits [n, V] at n places, of which `first` is the first. */
export type UseLogits = (logits: Tensor, first: number) => Promise<void>;

/** Reads the logits and hands them to `use` place by place. */
export const eachPlace =
  (use: (logits: Float32Array, place: number) => void): UseLogits =>
  async (rows, first) => {
    const [count = 0, vocabulary = 0] = rows.shape;
    const logits = await rows.read();
    for (let i = 0; i < count; i++) use(logits.subarray(i * vocabulary, (i + 1) * vocabulary), first + i);
  };

/**
 * Appends to each sequence of a cache tokens of its own, few or many or none, and hands the logits at the places given to
 * `use`. The cache needs room for `padded` tokens more than its longest sequence has.
 *
 * Returns the rows that each sequence took: of gates that the cache tells, those of sequence b begin at b times as many.
 * Throws BAD_TOKEN, BAD_OPTION.
 */
export async function appendTokens(
  model: Decoder,
  cache: KeyValueCache,
  sequences: readonly (readonly number[])[],
  places: readonly Place[] = [],
  use: UseLogits = async () => {},
): Promise<number> {
  const { device, config } = model;
  const batch = cache.lengths.length;
  for (const { sequence, index } of places) {
    const length = sequences[sequence]?.length ?? 0;
    // A row below or beyond it would be a neighbour's.
    if (index >= 0 && index < length) continue;
    throw new BtsError('BAD_OPTION', `place ${index} of sequence ${sequence} is none of the ${length} tokens it gets.`);
  }
  const tokens = padded(
    device,
    sequences.reduce((most, { length }) => Math.max(most, length), 1),
  );
  cache.expectRoom(tokens);
  const ids = new Int32Array(batch * tokens);
  for (const [b, sequence] of sequences.entries()) ids.set(sequence, b * tokens);
  const unknown = ids.find((id) => id < 0 || id >= config.vocabularySize);
  if (unknown !== undefined) {
    throw new BtsError('BAD_TOKEN', `token id ${unknown} lies outside the vocabulary of ${config.vocabularySize}.`);
  }

  using scope = Scope.inference(device);
  const stand = uploaded(scope, locateTokens(model, cache, sequences));
  using gates = cache.gates && model.gateLog(ids.length, cache.gates.options);
  const inputs = scope.track(device.tensor(ids, [ids.length]));
  const h = model.hidden(scope, inputs, { batch, tokens, cache, gates, ...stand });
  cache.gates?.follow(gates!.read());
  for (const [b, sequence] of sequences.entries()) cache.lengths[b]! += sequence.length;
  for (let first = 0; first < places.length; first += PLACES) {
    const now = places.slice(first, first + PLACES);
    const rows = new Int32Array(padded(device, now.length));
    for (const [i, { sequence, index }] of now.entries()) rows[i] = sequence * tokens + index;
    using part = scope.inner();
    const logits = model.transformer.head(part, h, part.track(device.tensor(rows, [rows.length])));
    await use(part.track(logits.slice(0, now.length)), first);
  }
  await h.settled();
  return tokens;
}
