import { closeSync, openSync } from 'node:fs';
import { createContext, Script } from 'node:vm';
import { fileError } from '../base/errors.js';

const LONGEST_MS = 5000;
const context: { work?: () => unknown } = createContext({});
const script = new Script('work()');

/**
 * What `work` gives, or what `fail` makes of its taking too long. A regular expression may go on for ever, as `(a+)+$` does, and
 * only V8 itself can stop one. Throws FILE_IO where file descriptors are used up.
 */
export function withinTime<T>(work: () => T, fail: (seconds: number) => Error, longestMs = LONGEST_MS): T {
  expectDescriptors();
  context.work = work;
  try {
    return script.runInContext(context, { timeout: longestMs }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw fail(longestMs / 1000);
  }
}

/** More than the event loop has that watches the time: Node.js aborts the process where it cannot be made. */
const DESCRIPTORS = 8;

function expectDescriptors(): void {
  const open: number[] = [];
  try {
    while (open.length < DESCRIPTORS) open.push(openSync(process.execPath, 'r'));
  } catch (error) {
    throw fileError(error, process.execPath, 'watching the time');
  } finally {
    for (const file of open) closeSync(file);
  }
}
