import { createInterface, type Interface } from 'node:readline';
import { type Readable, Writable } from 'node:stream';
import { type HistoryFile, MOST_LINES } from './history-file.js';
import type { Lines } from './lines.js';

/** A terminal, or what is like one. */
export interface Terminal {
  input: Readable;
  /** What is typed is shown there, and what is told beside the answers. */
  output: Writable & { columns?: number };
}

/**
 * Lines that a person types, with what was typed before at the arrow keys. Ctrl-C stops what is going on; else it empties the
 * line, and at an empty one twice ends all, as Ctrl-D does. What is typed during an answer is shown behind it.
 */
export class TerminalLines implements Lines {
  readonly isTerminal = true;
  private readonly lines: Interface;
  private readonly typed: AsyncIterable<string>;
  private isMuted = false;
  private stop: AbortController | undefined;
  private isLeaving = false;
  private isClosed = false;
  /** Lines that nobody saw while they were typed. */
  private unseen = 0;

  /** `signal` ends all. */
  constructor(
    private readonly terminal: Terminal,
    private readonly history: Pick<HistoryFile, 'lines' | 'add'>,
    private readonly signal: AbortSignal,
  ) {
    const { input, output } = terminal;
    const screen = new Writable({
      write: (chunk, _, done) => {
        if (!this.isMuted) output.write(chunk);
        done();
      },
    });
    Object.defineProperty(screen, 'columns', { get: () => output.columns });
    output.on('resize', () => screen.emit('resize'));
    this.lines = createInterface({
      input,
      output: screen,
      terminal: true,
      history: [...history.lines].reverse(),
      historySize: MOST_LINES,
      removeHistoryDuplicates: true,
      signal,
    });
    // From now on none is lost, whenever they are read.
    this.typed = this.lines[Symbol.asyncIterator]();
    this.lines.on('close', () => {
      this.isClosed = true;
    });
    this.lines.on('line', () => {
      if (this.isMuted) this.unseen++;
    });
    this.lines.on('SIGINT', () => {
      if (this.stop) this.stop.abort();
      else if (this.lines.line !== '') this.clearLine();
      else if (this.isLeaving) this.lines.close();
      else {
        this.isLeaving = true;
        output.write('\n(Ctrl-C again or Ctrl-D ends)\n');
        this.lines.prompt();
      }
    });
  }

  /** The lines; before each `prompt` is shown, as it is then. */
  async *read(prompt: () => string): AsyncGenerator<string> {
    const show = () => {
      if (this.isClosed) return;
      this.lines.setPrompt(prompt());
      // What is typed by now belongs behind the lines that come first.
      if (this.unseen > 0) this.terminal.output.write(prompt());
      else this.lines.prompt(true);
    };
    show();
    for await (const line of this.typed) {
      this.isLeaving = false;
      if (this.unseen > 0) {
        this.unseen--;
        this.terminal.output.write(`${line}\n`);
      }
      if (line.trim() !== '') await this.history.add(line);
      yield line;
      show();
    }
  }

  /** Does something that Ctrl-C stops, by the signal that it is given. What is typed meanwhile is not shown. */
  async during<Result>(work: (stop: AbortSignal) => Promise<Result>): Promise<Result> {
    this.stop = new AbortController();
    this.isMuted = true;
    try {
      return await work(AbortSignal.any([this.stop.signal, this.signal]));
    } finally {
      this.isMuted = false;
      this.stop = undefined;
    }
  }

  private clearLine(): void {
    this.lines.write(null, { ctrl: true, name: 'e' });
    this.lines.write(null, { ctrl: true, name: 'u' });
  }

  [Symbol.dispose](): void {
    this.lines.close();
  }
}
