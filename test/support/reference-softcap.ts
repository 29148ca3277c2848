import type { Round } from './reference.js';

/** c tanh(x / c) */
export const capped = (r: Round, x: number, c: number) => r(r(c) * r(Math.tanh(r(x / r(c)))));

/** Its derivative, of its value. */
export function capSlope(r: Round, y: number, c: number): number {
  const share = r(y / r(c));
  return r(1 - r(share * share));
}
