import { createContext, Script } from 'node:vm';

const LONGEST_MS = 5000;
const context: { work?: () => unknown } = createContext({});
const script = new Script('work()');

/**
 * What `work` gives, or what `fail` makes of its taking too long. A regular expression may go on for ever, as `(a+)+$` does, and
 * only V8 itself can stop one.
 */
export function withinTime<T>(work: () => T, fail: (seconds: number) => Error, longestMs = LONGEST_MS): T {
  context.work = work;
  try {
    return script.runInContext(context, { timeout: longestMs }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw fail(longestMs / 1000);
  }
}
