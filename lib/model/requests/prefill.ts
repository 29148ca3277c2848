import type { DecoderModel } from '../decoder-model.js';
import { appendTokens } from '../decoding/append-tokens.js';
import type { KeyValueCache } from '../decoding/key-value-cache.js';
import { padded } from '../decoding/padding.js';

/** Begins every sequence of an empty cache with the same tokens, which are computed once. */
export async function prefill(model: DecoderModel, cache: KeyValueCache, prefix: readonly number[]): Promise<void> {
  if (prefix.length === 0) return;
  using once = model.createCache(1, padded(model.device, prefix.length));
  await appendTokens(model, once, [prefix]);
  for (let sequence = 0; sequence < cache.lengths.length; sequence++) cache.copySequence(once, 0, sequence);
}
