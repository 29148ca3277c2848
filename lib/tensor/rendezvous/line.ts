import type { Socket } from 'node:net';
import { BtsError } from '../../base/errors.js';

/** Values of the host are small: a line that is longer is none of theirs. */
const MOST_CHARACTERS = 2 ** 28;

/** What ranks say to rank 0 first. */
export interface Hello {
  token: string;
  rank: number;
  size: number;
}

/** What rank 0 says: every rank's text, or why there is none. */
export type Answer = { all: string[] } | { refused: string };

/** A connection to another rank as lines of JSON, which are asked for one by one. */
export class Line {
  private readonly lines: string[] = [];
  private waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | undefined;
  private ended: Error | undefined;

  constructor(
    readonly socket: Socket,
    private readonly whose: string,
  ) {
    socket.setNoDelay(true).setKeepAlive(true, 10_000);
    socket.on('error', (error) => this.end(error.message)).on('close', () => this.end('its connection ended'));
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      const [first = '', ...rest] = part.split('\n');
      text += first;
      for (const next of rest) {
        this.take(text);
        text = next;
      }
      if (text.length > MOST_CHARACTERS) this.end('it sent a line without an end');
    });
  }

  private take(line: string): void {
    if (this.waiting) this.waiting.resolve(line);
    else this.lines.push(line);
    this.waiting = undefined;
  }

  /** Throws COMMUNICATION once the other side is gone. */
  next(): Promise<string> {
    const line = this.lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.ended) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  write(value: Hello | Answer | string): void {
    this.socket.write(toLine(value));
  }

  /** What was written still arrives. */
  close(): void {
    this.socket.end(() => this.socket.destroy());
  }

  private end(why: string): void {
    this.ended ??= new BtsError('COMMUNICATION', `${this.whose} is gone: ${why}`);
    this.waiting?.reject(this.ended);
    this.waiting = undefined;
    this.socket.destroy();
  }
}

export const toLine = (value: Hello | Answer | string) => `${JSON.stringify(value)}\n`;

/** Undefined for what is no JSON. */
export function parse<Value>(text: string): Value | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Throws COMMUNICATION, with what `late` says, after that time. */
export async function within<Value>(seconds: number, promise: Promise<Value>, late: () => string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new BtsError('COMMUNICATION', late())), Math.min(seconds * 1000, 2 ** 31 - 1));
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** 'rank 1', 'ranks 1, 2'. */
export const namesOf = (ranks: readonly number[]) => `${ranks.length === 1 ? 'rank' : 'ranks'} ${ranks.join(', ')}`;
