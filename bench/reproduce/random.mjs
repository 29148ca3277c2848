/** Random choices that are the same for the same seed (mulberry32). */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to n - 1. */
  below(n) {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * n);
  }

  /** A whole number from a to b, both among them. */
  between(a, b) {
    return a + this.below(b - a + 1);
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** `count` different elements of a list, or all in a new order. */
  sample(list, count = list.length) {
    const rest = [...list];
    for (let i = 0; i < Math.min(count, rest.length); i++) {
      const other = this.between(i, rest.length - 1);
      [rest[i], rest[other]] = [rest[other], rest[i]];
    }
    return rest.slice(0, count);
  }
}
