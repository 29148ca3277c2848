import { createHash } from 'node:crypto';
import type { Communicator } from './communicator.js';
import { SharedError } from './together.js';

/** What is longer is compared, and told, by its hash. */
const MOST_SHOWN = 200;

/**
 * Throws BAD_OPTION, on all ranks, where one of them was started with other values than rank 0.
 *
 * @param values what must be the same everywhere, by name
 */
export async function expectSame(communicator: Communicator, values: Readonly<Record<string, unknown>>): Promise<void> {
  const mine = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, brief(value)]));
  const all = await communicator.whole.gather<Readonly<Record<string, string>>>(mine);
  const [first = {}] = all;
  for (const [rank, theirs] of all.entries()) {
    for (const name of Object.keys({ ...first, ...theirs })) {
      const [there, here] = [theirs[name] ?? 'nothing', first[name] ?? 'nothing'];
      if (there === here) continue;
      throw new SharedError(
        'BAD_OPTION',
        `${name} is ${there} on rank ${rank}, and ${here} on rank 0: start all ranks with the same command, files and version.`,
      );
    }
  }
}

function brief(value: unknown): string {
  const json = JSON.stringify(value, (_, part) => (part === Infinity ? 'infinite' : part)) ?? 'nothing';
  return json.length <= MOST_SHOWN ? json : createHash('sha256').update(json).digest('hex');
}
