import { BtsError, type ErrorCode } from '../base/errors.js';
import type { Communicator, JsonValue } from './communicator.js';

/** What failed on another rank, and so has ended the work of all. */
export class ElsewhereError extends BtsError {
  /**
   * @param code what went wrong there
   * @param rank where
   * @param message what was said there
   */
  constructor(
    code: ErrorCode,
    /** Where. */
    readonly rank: number,
    message: string,
  ) {
    super(code, `on rank ${rank}: ${message}`);
  }
}

type Outcome = { value: JsonValue } | { code: ErrorCode; message: string };

/**
 * Does work on all ranks and gives what came of it on each, in the order of ranks. Where it fails on one it fails on all, so that
 * none waits for another that is gone; the rank that failed throws its own error. The work has the same collective calls on each,
 * also where it fails.
 */
export async function together<Value extends JsonValue | void>(
  communicator: Communicator,
  work: () => Value | Promise<Value>,
): Promise<Value[]> {
  let failure: unknown;
  let outcome: Outcome;
  try {
    outcome = { value: ((await work()) ?? null) as JsonValue };
  } catch (error) {
    failure = error;
    outcome = describe(error);
  }
  const outcomes = (await communicator.gather(outcome)) as unknown as Outcome[];
  if ('code' in outcome) throw failure;
  return outcomes.map((each, rank) => {
    if ('code' in each) throw new ElsewhereError(each.code, rank, each.message);
    return each.value as Value;
  });
}

/** Lets rank 0 do what one alone may do, such as writing files, while the others wait; its result is everybody's. */
export async function onFirst<Value extends JsonValue | void>(
  communicator: Communicator,
  work: () => Promise<Value>,
): Promise<Value> {
  const results = await together(communicator, async () => (communicator.rank === 0 ? await work() : null));
  return results[0] as Value;
}

/** Lets rank 0 open what it alone has. */
export async function openOnFirst<Opened>(
  communicator: Communicator,
  open: () => Promise<Opened>,
): Promise<Opened | undefined> {
  let opened: Opened | undefined;
  await onFirst(communicator, async () => {
    opened = await open();
  });
  return opened;
}

function describe(error: unknown): Outcome {
  if (error instanceof BtsError) return { code: error.code, message: error.message };
  return { code: 'COMMUNICATION', message: `it ended with an unexpected error: ${error}` };
}
