import { isSilent } from './output.js';
import { singleLine, truncateToWidth } from './text-width.js';

const REDRAW_MS = 100;
const PLAIN_LINE_MS = 30_000;
const NOWHERE: ProgressStream = { write: () => {} };

/** What a progress line is written to: a terminal, a file or a pipe. */
export interface ProgressStream {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

export interface ProgressOptions {
  /** The count at the end; without it neither percent nor the time left are shown. */
  total?: number;
  /** The count at the beginning, when earlier work goes on; default 0. */
  from?: number;
  /** Default `process.stderr`, or nothing where the process is silent. */
  stream?: ProgressStream;
  /** Milliseconds of a clock that only goes forward; default `performance.now`. */
  now?: () => number;
}

/**
 * How far a long piece of work has come, on one line that is redrawn at most ten times a second. Where the stream is no
 * terminal it is a plain line every half minute, so that a log stays readable.
 *
 *     const progress = new Progress('expert code', { total: 500 });
 *     progress.update(120, ['loss 3.21', '12.3k tokens/s']);
 *     // expert code  120/500  24%  loss 3.21  12.3k tokens/s  0:31, 1:38 left
 *     progress.done();
 *
 * `done` must be called on errors, too: what comes next would be written behind the line.
 */
export class Progress {
  readonly #label: string;
  readonly #total: number | undefined;
  readonly #from: number;
  readonly #stream: ProgressStream;
  readonly #isTerminal: boolean;
  readonly #now: () => number;
  readonly #started: number;
  #drawn: number;
  #line = '';
  #isDone = false;

  constructor(label: string, options: ProgressOptions = {}) {
    this.#label = label;
    this.#total = options.total;
    this.#from = options.from ?? 0;
    this.#stream = options.stream ?? (isSilent() ? NOWHERE : process.stderr);
    this.#isTerminal = this.#stream.isTTY === true && process.env.TERM !== 'dumb';
    this.#now = options.now ?? (() => performance.now());
    this.#started = this.#now();
    this.#drawn = this.#isTerminal ? Number.NEGATIVE_INFINITY : this.#started;
  }

  /** Tells the count so far, and what else to show, in this order. */
  update(count: number, fields: readonly string[] = []): void {
    if (this.#isDone) return;
    const now = this.#now();
    this.#line = singleLine(this.#compose(count, fields, now - this.#started));
    if (now - this.#drawn < (this.#isTerminal ? REDRAW_MS : PLAIN_LINE_MS)) return;
    this.#drawn = now;
    if (this.#isTerminal) this.#draw();
    else this.#stream.write(`${this.#line}\n`);
  }

  /** Writes a line of its own above the progress line. */
  print(line: string): void {
    const isShown = this.#isTerminal && !this.#isDone && this.#line !== '';
    this.#stream.write(isShown ? `\r\x1b[K${line}\n` : `${line}\n`);
    if (isShown) this.#draw();
  }

  /** Ends the line, with `message` in its place or as it was updated last. A second call does nothing. */
  done(message?: string): void {
    if (this.#isDone) return;
    this.#isDone = true;
    const last = message ?? this.#line;
    if (last !== '') this.#stream.write(this.#isTerminal ? `\r\x1b[K${last}\n` : `${last}\n`);
  }

  #draw(): void {
    // A line that fills the last column would wrap, and could not be redrawn.
    this.#stream.write(`\r${truncateToWidth(this.#line, (this.#stream.columns || 80) - 1)}\x1b[K`);
  }

  #compose(count: number, fields: readonly string[], elapsedMs: number): string {
    const total = this.#total;
    if (total === undefined) return [this.#label, `${count}`, ...fields, duration(elapsedMs)].join('  ');
    const leftMs = (elapsedMs / (count - this.#from)) * Math.max(0, total - count);
    const times = count > this.#from ? `${duration(elapsedMs)}, ${duration(leftMs)} left` : duration(elapsedMs);
    const percent = total > 0 ? Math.floor((100 * count) / total) : 100;
    return [this.#label, `${count}/${total}`, `${percent}%`, ...fields, times].join('  ');
  }
}

/** Milliseconds as '0:07', '12:34' or '3:05:09'. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = `${seconds % 60}`.padStart(2, '0');
  return hours > 0 ? `${hours}:${`${minutes}`.padStart(2, '0')}:${rest}` : `${minutes}:${rest}`;
}

/** A number with three digits and a unit: 12345 as '12.3k'. */
export function compact(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let unit = 0;
  for (; Math.abs(value) >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${Number(value.toPrecision(3))}${units[unit]}`;
}
