import { setImmediate } from 'node:timers/promises';
import { throwIfAborted } from './errors.js';

/** The event loop gets a turn when work has kept it for this long. */
const TURN_MS = 10;

/** `items.map(change)` that does not block the event loop, as tokenizing thousands of prompts would. Throws ABORTED. */
export async function mapInTurns<From, To>(
  items: readonly From[],
  change: (item: From, index: number) => To,
  signal: AbortSignal | undefined,
): Promise<To[]> {
  const results: To[] = [];
  let turnEnds = performance.now() + TURN_MS;
  for (const [index, item] of items.entries()) {
    if (performance.now() > turnEnds) {
      await setImmediate();
      throwIfAborted(signal, 'preparing requests');
      turnEnds = performance.now() + TURN_MS;
    }
    results.push(change(item, index));
  }
  return results;
}
