import type { Communicator } from '../tensor/communicator.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Watch } from '../tensor/tape.js';
import type { Tensor } from '../tensor/tensor.js';

/** Large enough to fill a network, small enough to leave while the backward is at work. */
const BUCKET_BYTES = 25 * 2 ** 20;

/**
 * What rank 0 saw of the first update: parameters in the order in which their gradients were done, and how often each was added to.
 * What nothing was added to is never done: it goes with the last.
 */
type Plan = { order: number[]; additions: number[] };

/**
 * Sums the gradients of all ranks, bucket by bucket. In the first update it looks when each gradient is done, and sums at its end;
 * from the second on a bucket goes as soon as the backward is done with it. All ranks send the same buckets in the same order.
 */
export class GradientSync {
  private buckets: Tensor[][];
  /** Additions that end each gradient, by its memory; unknown in the first update. */
  private ends: ReadonlyMap<object, number> | undefined;
  /** Additions so far, and the place of the latest among all. */
  private readonly seen = new Map<object, { count: number; last: number }>();
  private additions = 0;
  private sent = 0;

  constructor(
    private readonly communicator: Communicator,
    private readonly parameters: readonly Parameter[],
    private readonly bucketBytes = BUCKET_BYTES,
  ) {
    this.buckets = this.bucketsOf(parameters.map((_, i) => i));
  }

  /** Begins an update. */
  begin(): void {
    this.seen.clear();
    this.additions = 0;
    this.sent = 0;
  }

  /** Follows the last backward of an update. */
  readonly watch: Watch = ({ memory }) => {
    const count = (this.seen.get(memory)?.count ?? 0) + 1;
    this.seen.set(memory, { count, last: this.additions++ });
    if (!this.ends) return;
    if (count > this.ends.get(memory)!) throw new Error('a gradient was added to after it was summed over all ranks.');
    if (count === this.ends.get(memory)) this.send((gradient) => this.isDone(gradient));
  };

  /** Sums what is left. Comes on every rank, also where the update failed on it. */
  finish(): void {
    this.send(() => true);
  }

  /** After the first update that went well: agrees on the buckets of the next ones. */
  async learn(): Promise<void> {
    if (this.ends) return;
    const seen = this.parameters.map(({ gradient }) => this.seen.get(gradient!.memory) ?? { count: 0, last: Infinity });
    const order = seen.map((_, i) => i).sort((a, b) => seen[a]!.last - seen[b]!.last || a - b);
    const [plan] = await this.communicator.gather<Plan>({ order, additions: seen.map(({ count }) => count) });
    this.buckets = this.bucketsOf(plan!.order);
    this.ends = new Map(this.parameters.map(({ gradient }, i) => [gradient!.memory, plan!.additions[i] || Infinity]));
  }

  /** Milliseconds that this rank's device has spent in sums since this was last asked. */
  spentMs(): number {
    return Math.round(this.communicator.device.profile()['all-reduce']?.milliseconds ?? 0);
  }

  private send(isReady: (gradient: Tensor) => boolean): void {
    for (; this.sent < this.buckets.length && this.buckets[this.sent]!.every(isReady); this.sent++) {
      this.communicator.allReduce(this.buckets[this.sent]!);
    }
  }

  private isDone({ memory }: Tensor): boolean {
    return this.seen.get(memory)?.count === this.ends!.get(memory);
  }

  private bucketsOf(order: readonly number[]): Tensor[][] {
    const buckets: Tensor[][] = [];
    let room = 0;
    for (const i of order) {
      const gradient = this.parameters[i]!.gradient!;
      if (room < gradient.bytes || buckets.length === 0) {
        buckets.push([]);
        room = this.bucketBytes;
      }
      buckets.at(-1)!.push(gradient);
      room -= gradient.bytes;
    }
    return buckets;
  }
}
