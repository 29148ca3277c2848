/**
 * Python's `random.Random`, the Mersenne Twister MT19937 of Matsumoto and Nishimura, as far as lm-eval draws from it: few-shot
 * examples (`sample`) and bootstrap resamples (`choices`). The same seed gives CPython's numbers.
 */
const N = 624;
const M = 397;

export class PythonRandom {
  private readonly state = new Uint32Array(N);
  private next = N;

  /** @param seed an integer from 0 to 2^32 - 1 */
  constructor(seed: number) {
    this.initialize(19650218);
    const { state } = this;
    const mix = (i: number) => state[i - 1]! ^ (state[i - 1]! >>> 30);
    let i = 1;
    const advance = () => {
      if (++i < N) return;
      state[0] = state[N - 1]!;
      i = 1;
    };
    for (let k = 0; k < N; k++, advance()) state[i] = (state[i]! ^ Math.imul(mix(i), 1664525)) + seed;
    for (let k = 1; k < N; k++, advance()) state[i] = (state[i]! ^ Math.imul(mix(i), 1566083941)) - i;
    state[0] = 0x80000000;
  }

  /** A number in [0, 1) with 53 random bits. */
  random(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** An integer from 0 to `count` - 1; `count` is below 2^32. */
  below(count: number): number {
    const bits = 32 - Math.clz32(count);
    let draw = this.uint32() >>> (32 - bits);
    while (draw >= count) draw = this.uint32() >>> (32 - bits);
    return draw;
  }

  /** `k` different elements, in the order drawn. */
  sample<T>(population: readonly T[], k: number): T[] {
    const n = population.length;
    // CPython keeps a list or a set of what is taken, whichever is smaller; the draws differ.
    const setSize = 21 + (k > 5 ? 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 0);
    if (n <= setSize) {
      const pool = [...population];
      return Array.from({ length: k }, (_, i) => {
        const j = this.below(n - i);
        const taken = pool[j]!;
        pool[j] = pool[n - i - 1]!;
        return taken;
      });
    }
    const taken = new Set<number>();
    while (taken.size < k) {
      let j = this.below(n);
      while (taken.has(j)) j = this.below(n);
      taken.add(j);
    }
    return [...taken].map((j) => population[j]!);
  }

  /** `count` indices below `n`, drawn with replacement. */
  choices(n: number, count: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => Math.floor(this.random() * n));
  }

  private initialize(seed: number): void {
    const { state } = this;
    state[0] = seed;
    for (let i = 1; i < N; i++) state[i] = Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), 1812433253) + i;
  }

  private uint32(): number {
    if (this.next === N) this.twist();
    let y = this.state[this.next++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < N; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff);
      state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
}
