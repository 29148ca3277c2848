import { BtsError } from '../base/errors.js';
import { readText } from './text-reader.js';

export interface JsonText {
  json: string;
  /** The line that it starts in, counted from 1. */
  line: number;
}

/**
 * The values in a JSON file, one by one, so that a list of any length can be read: the elements of a list at the top, and
 * whatever else stands there, be it one value, one a line, or several that take many lines. They are not parsed.
 *
 * @throws BAD_DATA where lists and values are not where they can be, or one is longer than `maxCharacters`; and like `readText`
 */
export async function* readJsonValues(path: string, maxCharacters: number): AsyncGenerator<JsonText> {
  const splitter = new JsonSplitter(path, maxCharacters);
  for await (const chunk of readText(path)) yield* splitter.push(chunk);
  yield* splitter.end();
}

/** What a value is that has begun: its end is found differently. */
type Kind = 'nested' | 'string' | 'word';

class JsonSplitter {
  #line = 1;
  /** The value that has begun, as far as earlier chunks have it. */
  #open = '';
  #kind: Kind | undefined;
  #valueLine = 1;
  /** Brackets that are open within the value. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** In a list at the top: what may come next there. */
  #list: 'first' | 'value' | 'comma' | undefined;

  constructor(
    readonly path: string,
    readonly maxCharacters: number,
  ) {}

  *push(chunk: string): Generator<JsonText> {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const char = chunk[at]!;
      if (char === '\n') this.#line++;
      if (this.#kind) {
        const end = this.#endsAt(char, at);
        if (end === undefined) continue;
        yield this.#take(chunk.slice(start, end));
        // What ended a number or word is looked at again: it may be a comma or bracket.
        if (end > at) continue;
      }
      if (this.#begins(char)) start = at;
    }
    if (this.#kind) this.#open += chunk.slice(start);
    if (this.#open.length > this.maxCharacters) {
      throw this.#wrong(
        `the value is longer than ${this.maxCharacters} characters. Write one document a line, as .jsonl`,
      );
    }
  }

  *end(): Generator<JsonText> {
    if (this.#kind === 'word') yield this.#take('');
    if (this.#kind || this.#list) throw this.#wrong('the file ends within a value');
  }

  /** Where the value ends that `char` belongs to or stands behind; undefined while it goes on. */
  #endsAt(char: string, at: number): number | undefined {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (char === '\\') this.#escaped = true;
      else if (char === '"') this.#inString = false;
      return this.#kind === 'string' && !this.#inString ? at + 1 : undefined;
    }
    if (this.#kind === 'word') return /[\s,[\]{}"]/.test(char) ? at : undefined;
    if (char === '"') this.#inString = true;
    else if (char === '{' || char === '[') this.#depth++;
    else if (char === '}' || char === ']') this.#depth--;
    return this.#depth === 0 ? at + 1 : undefined;
  }

  /** Whether a value begins with `char`, which stands between values. */
  #begins(char: string): boolean {
    if (/\s/.test(char)) return false;
    if (!this.#list && char === '[') this.#list = 'first';
    else if (this.#list === 'comma' && char === ',') this.#list = 'value';
    else if (this.#list && this.#list !== 'value' && char === ']') this.#list = undefined;
    else if (this.#list === 'comma' || /[,\]}]/.test(char)) throw this.#wrong(`'${char}' cannot stand here`);
    else {
      this.#valueLine = this.#line;
      this.#kind = char === '"' ? 'string' : /[[{]/.test(char) ? 'nested' : 'word';
      this.#inString = this.#kind === 'string';
      this.#depth = this.#kind === 'nested' ? 1 : 0;
      return true;
    }
    return false;
  }

  #take(last: string): JsonText {
    const json = this.#open + last;
    this.#open = '';
    this.#kind = undefined;
    if (this.#list) this.#list = 'comma';
    return { json, line: this.#valueLine };
  }

  #wrong(reason: string): BtsError {
    return new BtsError('BAD_DATA', `${this.path}:${this.#line}: ${reason}. The file is not JSON that can be read.`);
  }
}
