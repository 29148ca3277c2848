import { count, orInfinity } from '../base/schema.js';

/** Tokens of a sequence where nothing else is said, and the model takes as many. */
export const SEQUENCE_LENGTH = 256;

/** Sequences that are computed together. */
export const batchSize = () => count().default(8).meta({ description: 'Sequences in a batch' });

/** Which rows of tokens are computed with at a time. */
export const batchOptions = {
  /** B, rows; default 8. */
  batchSize: batchSize(),
  /** T, tokens per row; default 256. */
  sequenceLength: count().default(SEQUENCE_LENGTH).meta({ description: 'Tokens in a sequence' }),
};

/** How much of held-out text is looked at. */
export const amountOptions = {
  /** At most this many targets; default all. */
  maxTokens: orInfinity(count())
    .default(Infinity)
    .meta({ description: 'Tokens of each domain to look at, at most (default: all)' }),
};

export const heldOutBatchOptions = { ...batchOptions, ...amountOptions };
