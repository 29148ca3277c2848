import { BtsError } from './errors.js';

/**
 * Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011):
 * a keyed bijection of 128-bit counters. Any draw can be computed from its index alone, so a resumed run needs no more
 * than the index, and streams with different keys or counters are independent.
 */
const ROUNDS = 10;
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const;
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85] as const;

/** Upper 32 bits of the product of two 32-bit unsigned integers. */
function multiplyHigh(a: number, b: number): number {
  const low = (a & 0xffff) * (b & 0xffff);
  const middle = (a >>> 16) * (b & 0xffff) + (low >>> 16);
  const carry = (a & 0xffff) * (b >>> 16) + (middle & 0xffff);
  return (a >>> 16) * (b >>> 16) + (middle >>> 16) + (carry >>> 16);
}

/** One block of Philox4x32-10: four 32-bit words out of a counter of four words and a key of two. */
export function philox(counter: ArrayLike<number>, key: ArrayLike<number>): Uint32Array {
  let c0 = counter[0]! >>> 0;
  let c1 = counter[1]! >>> 0;
  let c2 = counter[2]! >>> 0;
  let c3 = counter[3]! >>> 0;
  let key0 = key[0]! >>> 0;
  let key1 = key[1]! >>> 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIERS[0], c0);
    const high2 = multiplyHigh(MULTIPLIERS[1], c2);
    const low0 = Math.imul(MULTIPLIERS[0], c0) >>> 0;
    const low2 = Math.imul(MULTIPLIERS[1], c2) >>> 0;
    c0 = (high2 ^ c1 ^ key0) >>> 0;
    c1 = low2;
    c2 = (high0 ^ c3 ^ key1) >>> 0;
    c3 = low0;
    key0 = (key0 + KEY_STEPS[0]) >>> 0;
    key1 = (key1 + KEY_STEPS[1]) >>> 0;
  }
  return Uint32Array.of(c0, c1, c2, c3);
}

const WORD = 2 ** 32;
const words = (value: number): [low: number, high: number] => [value % WORD, Math.floor(value / WORD)];

/** Throws BAD_OPTION unless `seed` is an integer from 0 to 2^53 - 1. */
export function checkSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new BtsError('BAD_OPTION', `A seed is an integer from 0 to 2^53 - 1, not ${seed}.`);
  }
}

/** FNV-1a (32 bits) of a name's UTF-8 bytes: turns names of streams into numbers. */
export function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name, 'utf8')) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/**
 * A random 32-bit unsigned integer that depends on its arguments alone.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * @param counters up to four 32-bit unsigned integers that say which draw is meant
 * @throws BAD_OPTION for anything else
 */
export function hash32(seed: number, ...counters: number[]): number {
  checkSeed(seed);
  if (counters.length > 4 || counters.some((counter) => counter !== counter >>> 0)) {
    throw new BtsError('BAD_OPTION', `hash32 takes up to four 32-bit unsigned counters, not [${counters}].`);
  }
  const [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = counters;
  return philox([c0, c1, c2, c3], words(seed))[0]!;
}

/** Where a `Random` stands, as plain JSON. */
export interface RandomState {
  seed: number;
  stream: string | number;
  /** How many 32-bit words were drawn. */
  position: number;
}

/** A sequence of random numbers. Two instances with the same seed and stream give the same sequence. */
export class Random {
  #position = 0;
  #block: Uint32Array = new Uint32Array(4);
  readonly #stream: number;

  /** @throws BAD_OPTION unless `seed` is an integer from 0 to 2^53 - 1 */
  constructor(
    readonly seed: number,
    readonly stream: string | number = 0,
  ) {
    checkSeed(seed);
    this.#stream = hashName(String(stream));
  }

  /** An integer from 0 to 2^32 - 1. */
  uint32(): number {
    const word = this.#position % 4;
    if (word === 0) this.#fill();
    this.#position++;
    return this.#block[word]!;
  }

  /** Goes on behind so many calls of `uniform`. */
  skip(uniforms: number): void {
    this.#position += 2 * uniforms;
    if (this.#position % 4 !== 0) this.#fill();
  }

  /** A number in [0, 1) with 53 random bits. */
  uniform(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** An integer from 0 to `count` - 1, without bias; `count` is at most 2^32. */
  below(count: number): number {
    if (!Number.isInteger(count) || count < 1 || count > WORD) {
      throw new BtsError('BAD_OPTION', `below() takes an integer from 1 to 2^32, not ${count}.`);
    }
    const end = WORD - (WORD % count);
    let draw = this.uint32();
    while (draw >= end) draw = this.uint32();
    return draw % count;
  }

  state(): RandomState {
    return { seed: this.seed, stream: this.stream, position: this.#position };
  }

  /** Goes on from `state`. @throws BAD_DATA if it was taken from another seed or stream */
  restore(state: RandomState): void {
    if (state.seed !== this.seed || state.stream !== this.stream) {
      throw new BtsError(
        'BAD_DATA',
        `This generator has seed ${this.seed}, stream '${this.stream}'; the saved state has seed ${state.seed}, stream '${state.stream}'.`,
      );
    }
    if (!Number.isSafeInteger(state.position) || state.position < 0) {
      throw new BtsError('BAD_DATA', `A generator's saved position is a count, not ${state.position}.`);
    }
    this.#position = state.position;
    this.#fill();
  }

  #fill(): void {
    const [low, high] = words(Math.floor(this.#position / 4));
    this.#block = philox([low, high, this.#stream, 0], words(this.seed));
  }
}
