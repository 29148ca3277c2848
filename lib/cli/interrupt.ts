import { constants as files, readFileSync } from 'node:fs';
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const ACCESS_MODE = 3;
type Signal = (typeof SIGNALS)[number];

/**
 * Fires at the first Ctrl-C, SIGTERM or SIGHUP (a terminal that is closed), so that work can be saved; a second one ends the
 * process at once. It fires, too, where stdout is closed (`bts generate .. | head`): nobody waits for more. Under nohup, SIGHUP
 * does nothing.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  #received: Signal | undefined;
  /** Nothing more can be written to stdout. */
  outputClosed = false;

  constructor() {
    const stop = (signal: Signal) => {
      this.#received = signal;
      for (const name of SIGNALS) process.removeListener(name, stop);
      if (process.stderr.isTTY) process.stderr.write('\nStopping. Ctrl-C again ends at once, without saving.\n');
      this.#controller.abort();
    };
    for (const name of SIGNALS) process.on(name, name === 'SIGHUP' && isUnderNohup() ? () => {} : stop);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What shells make of a process that a signal ended: 130, 143 or 129; undefined where none came. */
  get exitCode(): number | undefined {
    return this.#received && 128 + constants.signals[this.#received];
  }

  closeOutput(): void {
    this.outputClosed = true;
    this.#controller.abort();
  }
}

/** Node.js undoes that nohup ignores SIGHUP; what stays is a stdin, in place of the terminal, that can only be written. */
function isUnderNohup(): boolean {
  try {
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & ACCESS_MODE) === files.O_WRONLY;
  } catch {
    return false; // stdin is closed, or there is no /proc
  }
}
