import { setTimeout } from 'node:timers/promises';
import { BtsError, type ErrorCode } from '../base/errors.js';
import type { Communicator, JsonValue } from './communicator.js';

/** How often those who wait for work hear that it goes on, at least. */
const BEAT_MS = 60_000;
/** So soon all know that one of them failed, and wait for it no longer. */
const ENTANGLED_BEAT_MS = 1000;
/** Sooner than they would take a rank for lost. */
const beatOf = ({ seconds }: Communicator) => Math.min(BEAT_MS, (1000 * seconds) / 3);

/** An error that all ranks throw alike: it is enough that one tells it. */
export class SharedError extends BtsError {}

type Failure = { code: ErrorCode; message: string };
type Outcome = { value: JsonValue } | Failure;
const isFailure = (outcome: Outcome): outcome is Failure => 'code' in outcome;

/** How all ranks work. */
interface Way {
  /** How often those that are done hear of the others. */
  beatMs?: number;
  /**
   * Whether a rank whose work fails leaves its calls of tensors out, for which others may wait: these are cancelled then, and
   * the communicator is of no use afterwards.
   */
  entangled?: boolean;
}

/**
 * Does work on all ranks and gives what came of it on each, JSON or nothing, in the order of ranks; of a group on all ranks at once, and of the
 * group's what came of it. Where it fails on one it fails on all, with the same code, so that none waits for another that is gone. The work makes
 * the same collective calls on each, also where it fails, unless it is entangled.
 */
export async function together<Value>(
  communicator: Communicator,
  work: () => Value | Promise<Value>,
  { beatMs = beatOf(communicator), entangled = false }: Way = {},
): Promise<Value[]> {
  let thrown: unknown;
  const ended = outcomeOf(work, (error) => {
    thrown = error;
  });
  const { whole, ranks } = communicator;
  const outcomes = await exchange(whole, ended, entangled ? Math.min(beatMs, ENTANGLED_BEAT_MS) : beatMs, entangled);
  // A rank may have failed because another did, and left it alone.
  const failed = (hasCause: boolean) =>
    outcomes.findIndex((each) => isFailure(each) && (!hasCause || each.code !== 'COMMUNICATION'));
  const rank = [failed(true), failed(false)].find((rank) => rank >= 0);
  if (rank === undefined) return ranks.map((rank) => (outcomes[rank] as { value: Value }).value);
  if (rank === whole.rank) throw thrown;
  const { code, message } = outcomes[rank] as Failure;
  throw new SharedError(code, `on rank ${rank}: ${message}`);
}

/** The same where ranks have no use for what came of it on others. */
export async function onEach<Result>(
  communicator: Communicator,
  work: () => Result | Promise<Result>,
): Promise<Result> {
  let result: Result;
  await together(communicator, async () => {
    result = await work();
  });
  return result!;
}

/** Lets rank 0 do what one alone may do, such as writing files, while the others wait; its result, JSON or nothing, is everybody's. */
export async function onFirst<Value>(communicator: Communicator, work: () => Value | Promise<Value>): Promise<Value> {
  const results = await together(communicator, async () => (communicator.rank === 0 ? await work() : null));
  return results[0] as Value;
}

/** Lets rank 0 open what it alone has. */
export async function openOnFirst<Opened>(
  communicator: Communicator,
  open: () => Promise<Opened>,
): Promise<Opened | undefined> {
  return await onEach(communicator, async () => (communicator.rank === 0 ? await open() : undefined));
}

async function outcomeOf(work: () => unknown, onError: (error: unknown) => void): Promise<Outcome> {
  try {
    return { value: ((await work()) ?? null) as JsonValue };
  } catch (error) {
    onError(error);
    if (error instanceof BtsError) return { code: error.code, message: error.message };
    return { code: 'COMMUNICATION', message: `an unexpected error: ${error}` };
  }
}

/** All outcomes, once all are there. */
async function exchange(
  communicator: Communicator,
  ended: Promise<Outcome>,
  beatMs: number,
  entangled: boolean,
): Promise<Outcome[]> {
  for (;;) {
    const stop = new AbortController();
    const beat = setTimeout(beatMs, null, { signal: stop.signal }).catch(() => null);
    const outcome = await Promise.race([ended, beat]);
    stop.abort();
    const outcomes = await communicator.gather<Outcome | null>(outcome);
    if (outcomes.every((each) => each !== null)) return outcomes;
    if (!entangled || !outcomes.some((each) => each && isFailure(each))) continue;
    communicator.cancel();
    await ended;
    return outcomes.map((each) => each ?? { code: 'COMMUNICATION', message: 'it waited for a rank that failed' });
  }
}
