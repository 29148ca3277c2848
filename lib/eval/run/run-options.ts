import { type Abortable, throwIfAborted } from '../../errors.js';

export interface RunOptions extends Abortable {
  /** Sequences that are computed together. */
  batchSize: number;
  /** Whether what prompts have in common is computed once. Results are the same. */
  sharePrefixes: boolean;
}

/** Throws ABORTED once the signal has fired. */
export function expectRunning(signal: AbortSignal | undefined): void {
  throwIfAborted(signal, 'the evaluation');
}
