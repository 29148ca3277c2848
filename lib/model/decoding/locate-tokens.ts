import { Scope } from '../../tensor/scope.js';
import { stageOf, stageStart } from '../transformer/rope-tables.js';
import type { Decoder } from './decoder.js';
import type { KeyValueCache } from './key-value-cache.js';
import { padded } from './padding.js';
import { type Standing, uploaded } from './standing.js';

/** Tokens that are computed at a time where a sequence is computed anew. */
const ANEW = 512;

/**
 * Where the tokens that each sequence of a cache gets stand. A sequence that they make too long for how it was rotated so far,
 * or that was cut and is no longer, is computed anew first: LongRoPE rotates all of a sequence as its length asks.
 */
export function locateTokens(
  model: Decoder,
  cache: KeyValueCache,
  added: readonly ArrayLike<number>[],
): Standing<Int32Array> {
  const starts = Int32Array.from(cache.lengths);
  const { limits } = model.transformer;
  if (limits.length === 0) return { starts };
  const tableStarts = starts.map((length, b) => {
    const stage = stageOf(limits, length + added[b]!.length);
    const { tokens = [], stage: before = stage } = cache.origins[b] ?? {};
    tokens.length = Math.min(tokens.length, length);
    if (stage !== before && length > 0) computeAnew(model, cache, b, tokens, stageStart(limits, stage));
    for (let i = 0; i < added[b]!.length; i++) tokens.push(added[b]![i]!);
    cache.origins[b] = { tokens, stage };
    return length + stageStart(limits, stage);
  });
  return { starts, tableStarts };
}

function computeAnew(model: Decoder, cache: KeyValueCache, b: number, tokens: readonly number[], row: number): void {
  using own = model.createCache(1, padded(model.device, tokens.length));
  for (let first = 0; first < tokens.length; first += ANEW) {
    using scope = Scope.inference(model.device);
    const part = tokens.slice(first, first + ANEW);
    const ids = new Int32Array(padded(model.device, part.length));
    ids.set(part);
    const stand = uploaded(scope, { starts: Int32Array.of(first), tableStarts: Int32Array.of(first + row) });
    const inputs = scope.track(model.device.tensor(ids, [ids.length]));
    model.hidden(scope, inputs, { batch: 1, tokens: ids.length, cache: own, ...stand });
  }
  own.lengths[0] = tokens.length;
  cache.copySequence(own, 0, b);
}
