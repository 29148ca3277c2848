import { hash32 } from './random.js';

/** Four rounds make a Feistel network pseudo-random (Luby and Rackoff); two more even out very small halves. */
const ROUNDS = 6;

/**
 * Where `index` goes in a random permutation of 0..count-1, computed for that index alone: shuffling a billion items
 * takes no memory, and resuming in the middle of a shuffle needs no state.
 *
 * A Feistel network permutes the smallest 0..4^h-1 that holds `count`; results beyond `count` are sent through again
 * until one falls inside (cycle walking: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
 *
 * @param index from 0 to count - 1
 * @param count from 1 to 2^52
 * @param seed names the permutation, see `hash32`
 */
export function permute(index: number, count: number, seed: number): number {
  let half = 2;
  while (half * half < count) half *= 2;
  let value = index;
  do {
    let left = Math.floor(value / half);
    let right = value % half;
    for (let round = 0; round < ROUNDS; round++) {
      const mixed = (left ^ hash32(seed, round, right)) >>> 0;
      left = right;
      right = mixed % half;
    }
    value = left * half + right;
  } while (value >= count);
  return value;
}
