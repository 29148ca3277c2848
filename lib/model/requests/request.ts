import type { Abortable } from '../../base/errors.js';
import type { GateRecordOptions, TokenGates } from '../stitches/gate-log.js';

/** How requests are computed together. */
export interface RequestOptions extends Abortable {
  /** Sequences that are computed together. */
  batchSize: number;
  /** Whether what sequences have in common is computed once. Results are the same. */
  sharePrefixes: boolean;
  /** Where a model has gates: tells those of each token that is scored or generated. */
  gates?: GateRecordOptions | undefined;
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
  /** Where they were asked for, of each of its tokens: those at the token before it, where it was expected. */
  gates?: TokenGates[];
}

/** A request and a score for each of its continuations. */
export interface Scored<Request> {
  request: Request;
  scores: ContinuationScore[];
}
