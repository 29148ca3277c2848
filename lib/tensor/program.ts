import { type NativeProgram, typed } from './addon.js';

/** Ops that a device recorded, to be run again by one call: on the CPU without JavaScript, on a GPU as one launch. */
export class Program implements Disposable {
  /** @internal Programs are recorded by devices. */
  constructor(private readonly native: NativeProgram) {}

  /** Queues all of its ops. Throws DISPOSED; what the data is to blame for is thrown by the next read. */
  run(): void {
    try {
      this.native.run();
    } catch (error) {
      throw typed(error);
    }
  }

  /** Gives back the memory that only the program needs; runs that are queued still end. Twice is harmless. */
  dispose(): void {
    this.native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
