const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Fires at the first Ctrl-C (or SIGTERM), so that work can be saved; a second one ends the process at once. Where stdout is
 * closed by its reader (`bts generate .. | head`), it fires too: nobody waits for more.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  /** The reader of stdout went away. */
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
