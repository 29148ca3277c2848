import type { Device } from '../../tensor/device.js';

/**
 * Tokens that a pass over `tokens` takes in the cache, padding included: a multiple of the rows that a pass has at least, so that
 * what a token gets does not depend on how many others are computed with it.
 */
export const padded = ({ leastRows }: Pick<Device, 'leastRows'>, tokens: number) =>
  Math.ceil(tokens / leastRows) * leastRows;
