import { throwIfAborted } from '../../base/errors.js';
import type { TokenGates } from '../stitches/gate-log.js';
import type { TokenCache } from './key-value-cache.js';
import { type Draw, sample } from './sampler.js';
import type { TokenModel } from './token-model.js';

/** A sequence that is being generated. */
export interface Lane {
  /** How its next token is drawn. */
  readonly draw: Draw;
  /** Whether it looks at the logits that its tokens are drawn from. */
  readonly needsLogits: boolean;
  /** The last token. */
  readonly next: number;
  /** Whether the last token was the last one. */
  readonly isDone: boolean;
  /** Takes the token that was drawn, and where they were asked for gates at all tokens that came before it in the call. */
  push(id: number, logits?: Float32Array, gates?: readonly TokenGates[]): void;
}

/** Appends tokens to a cache and hands each lane the one that was drawn for it. Throws what `model.next` throws. */
export async function advance(
  model: TokenModel,
  cache: TokenCache,
  ids: ArrayLike<number>,
  lanes: readonly (Lane | undefined)[],
): Promise<void> {
  const draws = lanes.map((lane) => lane?.draw);
  const tokens = ids.length / lanes.length;
  const gatesOf = async () => {
    const rows = await cache.gates?.latest;
    return (b: number) => rows?.slice(b * tokens, (b + 1) * tokens);
  };
  if (!lanes.some((lane) => lane?.needsLogits)) {
    const drawn = await model.next(cache, ids, draws);
    const gates = await gatesOf();
    for (const [b, lane] of lanes.entries()) lane?.push(drawn[b]!, undefined, gates(b));
    return;
  }
  const vocabulary = model.config.vocabularySize;
  const logits = await model.extend(cache, ids);
  using rows = model.device.tensor(logits, [lanes.length, vocabulary]);
  const drawn = await sample(rows, draws);
  const gates = await gatesOf();
  for (const [b, lane] of lanes.entries()) {
    lane?.push(drawn[b]!, logits.subarray(b * vocabulary, (b + 1) * vocabulary), gates(b));
  }
}

/**
 * Generates sequences side by side, one in each slot of the cache: one that has ended makes room for the next that waits. `begin`
 * computes a prompt in a cache of one sequence, which it returns, and pushes the first token. Yields a lane whenever it was
 * given a token. Throws ABORTED, and what `begin` and `model.next` throw.
 */
export async function* decodeTogether<Sequence extends Lane>(
  model: TokenModel,
  cache: TokenCache,
  waiting: Iterable<Sequence>,
  begin: (lane: Sequence) => Promise<TokenCache>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Sequence, void> {
  const queue = waiting[Symbol.iterator]();
  const slots: (Sequence | undefined)[] = cache.lengths.map(() => undefined);
  for (;;) {
    for (let b = 0; b < slots.length; b++) {
      while (slots[b] === undefined) {
        const { value: lane } = queue.next() as IteratorResult<Sequence, undefined>;
        if (!lane) break;
        throwIfAborted(signal, 'generating');
        const prompt = await begin(lane);
        if (!lane.isDone) {
          cache.copySequence(prompt, 0, b);
          slots[b] = lane;
        }
        yield lane;
      }
      // A slot without a sequence computes something, too: it is never read.
      if (slots[b] === undefined) cache.lengths[b] = 0;
    }
    if (slots.every((lane) => lane === undefined)) return;
    throwIfAborted(signal, 'generating');
    const ids = slots.map((lane) => lane?.next ?? 0);
    await advance(model, cache, ids, slots);
    for (const [b, lane] of slots.entries()) {
      if (!lane) continue;
      if (lane.isDone) slots[b] = undefined;
      yield lane;
    }
  }
}
