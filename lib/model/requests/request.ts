import type { Abortable } from '../../base/errors.js';

/** How requests are computed together. */
export interface RequestOptions extends Abortable {
  /** Sequences that are computed together. */
  batchSize: number;
  /** Whether what sequences have in common is computed once. Results are the same. */
  sharePrefixes: boolean;
}

/** A context as tokens, one at least, and what may follow it, each of one token at least. */
export interface ContinuationRequest {
  readonly context: readonly number[];
  readonly continuations: readonly (readonly number[])[];
}

/** How likely a model finds a continuation. */
export interface ContinuationScore {
  /** Sum over its tokens, in nats. */
  logProbability: number;
  /** Whether every token of it is the likeliest one. */
  isGreedy: boolean;
}

/** A request and a score for each of its continuations. */
export interface Scored<Request> {
  request: Request;
  scores: ContinuationScore[];
}
