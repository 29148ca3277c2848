/** What the fuzzer's bytes say, one decision after the other; all that come after the last are zero. */
export class Bytes {
  private at = 0;

  constructor(private readonly data: Uint8Array) {}

  get left(): number {
    return this.data.length - this.at;
  }

  byte(): number {
    return this.data[this.at++] ?? 0;
  }

  /** From 0 to `limit` - 1, of one byte: `limit` is 256 at most. */
  below(limit: number): number {
    return this.byte() % limit;
  }

  pick<T>(items: readonly T[]): T {
    return items[(items.length > 256 ? this.byte() * 256 + this.byte() : this.byte()) % items.length]!;
  }

  /** The next bytes as they are, as many as there are and as are asked for. */
  take(count = Number.POSITIVE_INFINITY): Uint8Array {
    const taken = this.data.subarray(this.at, this.at + count);
    this.at += taken.length;
    return taken;
  }
}
