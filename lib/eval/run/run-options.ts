import { BtsError, throwIfAborted } from '../../base/errors.js';
import type { RequestOptions } from '../../model/requests/request.js';

export interface RunOptions extends RequestOptions {
  /** What errors call a request, by its index; default 'request 3'. */
  nameOf?: (index: number) => string;
}

/** An error about what one request asks. */
export function badRequest(index: number, { nameOf }: RunOptions, reason: string): BtsError {
  return new BtsError('BAD_DATA', `${nameOf?.(index) ?? `request ${index}`}: ${reason}`);
}

/** Throws ABORTED once the signal has fired. */
export function expectRunning(signal: AbortSignal | undefined): void {
  throwIfAborted(signal, 'the evaluation');
}
