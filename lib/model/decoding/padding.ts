/**
 * Backends may sum a handful of rows in another order than many. Every pass has at least this many, so that what a token
 * gets does not depend on how many others are computed with it.
 */
export const LEAST_ROWS = 8;

/** Tokens that a pass over `tokens` takes in the cache, padding included. */
export const padded = (tokens: number) => Math.ceil(tokens / LEAST_ROWS) * LEAST_ROWS;
