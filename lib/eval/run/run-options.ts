import { BtsError } from '../../errors.js';

export interface RunOptions {
  /** Sequences that are computed together. */
  batchSize: number;
  /** Whether what prompts have in common is computed once. Results are the same. */
  sharePrefixes: boolean;
  signal?: AbortSignal | undefined;
}

/** Throws ABORTED once the signal has fired. */
export function expectRunning(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new BtsError('ABORTED', 'the evaluation was stopped.', { cause: signal.reason });
}
