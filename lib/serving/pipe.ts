/** Values from one who does not wait to one who does, in their order. */
export class Pipe<Value> {
  private readonly values: Value[] = [];
  private ended = false;
  private error: unknown;
  private wake: () => void = () => {};

  push(value: Value): void {
    this.values.push(value);
    this.wake();
  }

  /** Nothing more comes; with an error, it is thrown where the last value was read. */
  end(error?: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.error = error;
    this.wake();
  }

  async *read(): AsyncGenerator<Value, void> {
    for (;;) {
      while (this.values.length > 0) yield this.values.shift()!;
      if (this.error !== undefined) throw this.error;
      if (this.ended) return;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
