import type { DecoderModel } from '../../model/decoder-model.js';
import { appendTokens, padded } from '../../model/decoding/append-tokens.js';
import type { KeyValueCache } from '../../model/decoding/key-value-cache.js';

/** Begins every sequence of an empty cache with the same tokens, which are computed once. */
export async function prefill(model: DecoderModel, cache: KeyValueCache, prefix: readonly number[]): Promise<void> {
  if (prefix.length === 0) return;
  using once = model.createCache(1, padded(prefix.length));
  await appendTokens(model, once, [prefix]);
  for (let sequence = 0; sequence < cache.lengths.length; sequence++) cache.copySequence(once, 0, sequence);
}
