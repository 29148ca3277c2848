const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Fires at the first Ctrl-C (or SIGTERM), so that work can be saved; a second one ends the process at once. It fires, too,
 * where stdout is closed (`bts generate .. | head`): nobody waits for more.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  /** Nothing more can be written to stdout. */
  outputClosed = false;

  constructor() {
    const stop = () => {
      for (const name of SIGNALS) process.removeListener(name, stop);
      if (process.stderr.isTTY) process.stderr.write('\nStopping. Ctrl-C again ends at once, without saving.\n');
      this.#controller.abort();
    };
    for (const name of SIGNALS) process.on(name, stop);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  closeOutput(): void {
    this.outputClosed = true;
    this.#controller.abort();
  }
}
