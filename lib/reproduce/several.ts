/**
 * Uses all items, `most` of them at a time, and returns what came of them in their order. Where one fails, the others are
 * told to stop, and when they have, its error is thrown.
 */
export async function severalAtATime<Item, Result>(
  items: readonly Item[],
  most: number,
  use: (item: Item, signal: AbortSignal) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result[]> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  const results = new Array<Result>(items.length);
  const waiting = items.entries();
  const work = async () => {
    for (const [i, item] of waiting) {
      if (failure.signal.aborted) return;
      try {
        results[i] = await use(item, either);
      } catch (error) {
        failure.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, work));
  failure.signal.throwIfAborted();
  return results;
}
