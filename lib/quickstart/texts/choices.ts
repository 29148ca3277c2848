import { Random } from '../../base/random.js';

/** Reproducible choices: the same seed and stream give the same on every machine. */
export class Choices extends Random {
  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in one half of the cases. */
  coin(): boolean {
    return this.below(2) === 1;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Two different items. */
  pickTwo<T>(items: readonly T[]): [T, T] {
    const [first, second] = [this.below(items.length), this.below(items.length - 1)];
    return [items[first]!, items[second < first ? second : second + 1]!];
  }

  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.below(last + 1);
      [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
    }
    return shuffled;
  }
}
