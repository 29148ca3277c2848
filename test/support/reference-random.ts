/** What the ops draw at random: word i % 4 of Philox block i / 4 under the seed, the same on every device. */
import { philox } from '../../lib/base/random.js';
import type { Round } from './reference.js';

const halves = (x: number): [number, number] => [x % 2 ** 32, Math.floor(x / 2 ** 32)];

export function randomWord(seed: number, index: number): number {
  return philox([...halves(Math.floor(index / 4)), 0, 0], halves(seed))[index % 4]!;
}

/** What dropout multiplies element `index` with: 0, or 1 / (1 - rate) if its word, as a fraction of 2^32, is not below the rate. */
export function dropoutFactor(r: Round, rate: number, seed: number, index: number): number {
  if (rate === 0) return 1;
  return randomWord(seed, index) / 2 ** 32 < rate ? 0 : r(1 / r(1 - rate));
}
