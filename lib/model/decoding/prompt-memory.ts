import { commonPrefix } from '../../base/common-prefix.js';
import { throwIfAborted } from '../../base/errors.js';
import { advance } from './decode-together.js';
import type { GeneratedToken, Generation } from './generation.js';
import { type CacheOptions, KeyValueCache, type TokenCache } from './key-value-cache.js';
import type { TokenModel } from './token-model.js';

/**
 * What was computed of the last prompt and its answer: of a prompt that begins alike, as the next turn of a conversation does,
 * only the rest is computed. Caches that cannot be cut, those of ensembles and of routers of sequences, are made anew.
 */
export class PromptMemory implements Disposable {
  private kept: { model: TokenModel; cache: TokenCache } | undefined;
  /** What the cache holds. */
  private readonly tokens: number[] = [];

  /** Continues a prompt until its generation is done. Throws what `model.next` throws, ABORTED. */
  async *continue(
    model: TokenModel,
    lane: Generation,
    options: CacheOptions,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<GeneratedToken, void> {
    const cache = this.open(model, lane, options);
    let ids: readonly number[] = lane.prompt.slice(this.tokens.length);
    do {
      throwIfAborted(signal, 'generating');
      try {
        await advance(model, cache, ids, [lane]);
      } catch (error) {
        this.dispose();
        throw error;
      }
      for (const id of ids) this.tokens.push(id);
      ids = [lane.next];
      yield lane.latest;
    } while (!lane.isDone);
  }

  /** A cache for a sequence, with what it has in common with the last one, all but the last token of its prompt at most. */
  private open(model: TokenModel, { prompt, capacity }: Generation, options: CacheOptions): TokenCache {
    const { kept } = this;
    const isCut = kept?.model === model && kept.cache instanceof KeyValueCache;
    const length = isCut ? Math.min(commonPrefix(this.tokens, prompt), prompt.length - 1) : 0;
    this.tokens.length = length;
    if (kept && length > 0) {
      kept.cache.lengths[0] = length;
      if (capacity <= kept.cache.capacity) return kept.cache;
      // Twice as much as is needed, so that a conversation that goes on is seldom copied.
      const larger = model.createCache(1, Math.min(model.config.maxPositions, 2 * capacity), options);
      larger.copySequence(kept.cache, 0, 0);
      kept.cache.dispose();
      kept.cache = larger;
      return larger;
    }
    this.dispose();
    this.kept = { model, cache: model.createCache(1, capacity, options) };
    return this.kept.cache;
  }

  /** Forgets all. Twice is harmless, and it can be used again. */
  dispose(): void {
    this.kept?.cache.dispose();
    this.kept = undefined;
    this.tokens.length = 0;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
