import { setMaxListeners } from 'node:events';

/** A signal that fires when another one does, or when the time is over, unless all is done before. */
export class TimeLimit implements Disposable {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;
  /** Whether it fired because the time was over. */
  isOver = false;

  constructor(
    private readonly outer: AbortSignal,
    ms: number,
  ) {
    this.timer = setTimeout(() => {
      this.isOver = true;
      this.abort();
    }, ms);
    outer.addEventListener('abort', this.abort);
    // Every prompt of a request listens.
    setMaxListeners(0, this.signal);
    if (outer.aborted) this.abort();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  private readonly abort = () => this.controller.abort(this.outer.reason);

  /** Whatever has not ended by now ends. */
  [Symbol.dispose](): void {
    clearTimeout(this.timer);
    this.outer.removeEventListener('abort', this.abort);
    this.controller.abort();
  }
}
