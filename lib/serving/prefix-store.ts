import type { KeyValueCache } from '../model/decoding/key-value-cache.js';

interface Kept {
  tokens: readonly number[];
  cache: KeyValueCache;
}

/** Shorter ones are computed as fast as they are copied. */
const LEAST_TOKENS = 64;

/** Prompts that were computed lately, with their keys and values: those that begin alike go on from there. */
export class PrefixStore implements Disposable {
  /** The one used last comes last. */
  private kept: Kept[] = [];

  constructor(private readonly mostTokens: () => number) {}

  get tokens(): number {
    return this.kept.reduce((sum, { cache }) => sum + cache.capacity, 0);
  }

  /** Takes over the cache of one sequence that holds these tokens. */
  keep(tokens: readonly number[], cache: KeyValueCache): void {
    if (tokens.length < LEAST_TOKENS || cache.capacity > this.mostTokens()) {
      cache.dispose();
      return;
    }
    // What another one begins with is there with the other one.
    this.drop(this.kept.filter((one) => commonLength(one.tokens, tokens) === one.tokens.length));
    this.kept.push({ tokens, cache });
    while (this.tokens > this.mostTokens()) this.drop([this.kept[0]!]);
  }

  /** The cache that has most of these tokens in common from the first on, all but the last at most. */
  find(tokens: readonly number[]): { cache: KeyValueCache; length: number } | undefined {
    const most = tokens.length - 1;
    let best: Kept | undefined;
    let length = LEAST_TOKENS - 1;
    for (const one of this.kept) {
      const common = Math.min(most, commonLength(one.tokens, tokens));
      if (common > length) [best, length] = [one, common];
    }
    if (!best) return undefined;
    this.kept.push(...this.kept.splice(this.kept.indexOf(best), 1));
    return { cache: best.cache, length };
  }

  clear(): void {
    this.drop(this.kept);
  }

  private drop(some: readonly Kept[]): void {
    for (const { cache } of some) cache.dispose();
    this.kept = this.kept.filter((one) => !some.includes(one));
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
