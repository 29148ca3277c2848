const [SPACE, TAB, NEWLINE, RETURN, QUOTE, BACKSLASH] = [0x20, 0x09, 0x0a, 0x0d, 0x22, 0x5c];

/**
 * A strict cursor over JSON text for one known grammar. `JSON.parse` will not do for a safetensors header: it keeps the
 * last of two equal keys, reads 1e3 and 1.0 as integers, rounds integers beyond 2^53 and lets lone surrogates pass. As the
 * caller says what must come next, nothing here recurses and nothing is kept that was not asked for.
 */
export class JsonScanner {
  #at = 0;

  /** @param fail makes the error to throw from a reason. */
  constructor(
    readonly text: string,
    readonly fail: (reason: string) => Error,
  ) {}

  /** Moves past `char` if it comes next, white space aside. */
  take(char: string): boolean {
    this.#skipSpace();
    if (this.text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  expect(char: string): void {
    if (!this.take(char)) throw this.#unexpected(`'${char}'`);
  }

  /** Between two items of an object or array: true after a comma, false after the closing bracket `close`. */
  more(close: string): boolean {
    if (this.take(',')) return true;
    this.expect(close);
    return false;
  }

  end(): void {
    this.#skipSpace();
    if (this.#at < this.text.length) throw this.#unexpected('the end');
  }

  key(): string {
    const key = this.string();
    this.expect(':');
    return key;
  }

  string(): string {
    const start = this.#at;
    if (!this.take('"')) throw this.#unexpected('a string');
    let at = this.#at;
    for (; at < this.text.length; at++) {
      const char = this.text.charCodeAt(at);
      if (char === QUOTE) break;
      if (char === BACKSLASH) at++;
    }
    this.#at = at + 1;
    const json = this.text.slice(start, this.#at);
    try {
      const value: string = JSON.parse(json);
      // The text came from UTF-8, so only an escape can have brought in half a surrogate pair.
      if (json.includes('\\') && !isWellFormed(value)) throw new SyntaxError('lone surrogate');
      return value;
    } catch {
      throw this.fail(`character ${start} starts a malformed string`);
    }
  }

  /** An integer from 0 to 2^53 - 1 in plain digits: no sign, fraction, exponent or leading zero. */
  integer(): number {
    this.#skipSpace();
    // 16 digits reach 2^53 and one more character shows that the number ends there.
    const digits = /^(0|[1-9][0-9]{0,15})[\s,\]}]/.exec(this.text.slice(this.#at, this.#at + 17))?.[1];
    if (!digits || !Number.isSafeInteger(Number(digits))) {
      throw this.#unexpected('a plain non-negative integer below 2^53');
    }
    this.#at += digits.length;
    return Number(digits);
  }

  /** An array of at most `limit` integers. */
  integers(limit: number): number[] {
    const values: number[] = [];
    this.expect('[');
    if (this.take(']')) return values;
    do {
      if (values.length === limit) throw this.#unexpected(`at most ${limit} numbers`);
      values.push(this.integer());
    } while (this.more(']'));
    return values;
  }

  #skipSpace(): void {
    let at = this.#at;
    for (; ; at++) {
      const char = this.text.charCodeAt(at);
      if (char !== SPACE && char !== TAB && char !== NEWLINE && char !== RETURN) break;
    }
    this.#at = at;
  }

  #unexpected(wanted: string): Error {
    const found = this.text.slice(this.#at, this.#at + 20);
    return this.fail(`character ${this.#at}: expected ${wanted}, found ${found ? JSON.stringify(found) : 'the end'}`);
  }
}

/** Whether UTF-8 can hold the text: false if half a surrogate pair stands alone. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}
