import { isUtf8 } from 'node:buffer';
import { BtsError } from '../base/errors.js';
import type { Encoding } from './encoding.js';

const NEWLINE = 0x0a;

/** How bytes stand for text. */
interface Codec {
  name: string;
  /** How many of `bytes` lie before a character that is cut off at the end. */
  whole(bytes: Buffer): number;
  decode(bytes: Buffer): string;
  /** How many lines end before the first bytes that are no text; undefined where all are. */
  fault(bytes: Buffer): number | undefined;
  /** An encoding that files which are not valid are often in. */
  instead: string;
}

/** Turns the bytes of a file, chunk by chunk, into text, none of which ends within a character. */
export class ChunkDecoder {
  readonly #codec: Codec;
  #line = 1;
  #rest: Buffer = Buffer.alloc(0);

  constructor(
    encoding: Encoding,
    readonly path: string,
  ) {
    this.#codec = CODECS[encoding];
  }

  /** The text that became complete with `chunk`. @throws BAD_DATA naming file and line */
  decode(chunk: Buffer): string {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    const whole = this.#codec.whole(bytes);
    this.#rest = bytes.subarray(whole);
    return this.#text(bytes.subarray(0, whole));
  }

  /** @throws BAD_DATA where the file ends within a character */
  end(): void {
    this.#text(this.#rest);
  }

  #text(bytes: Buffer): string {
    const { name, decode, fault, instead } = this.#codec;
    const lines = fault(bytes);
    if (lines !== undefined) {
      throw new BtsError(
        'BAD_DATA',
        `${this.path}:${this.#line + lines}: the text is not valid ${name}. Convert the file (from ${instead}, for example: iconv -f ${instead} -t UTF-8), or leave it out.`,
      );
    }
    const text = decode(bytes);
    this.#line += countNewlines(text);
    return text;
  }
}

const CODECS: Readonly<Record<Encoding, Codec>> = {
  'utf-8': {
    name: 'UTF-8',
    instead: 'LATIN1',
    whole: wholeUtf8,
    decode: (bytes) => bytes.toString('utf8'),
    fault: (bytes) => (isUtf8(bytes) ? undefined : linesBeforeFault(bytes)),
  },
  'utf-16le': utf16('UTF-16LE', (bytes) => bytes.toString('utf16le')),
  'utf-16be': utf16('UTF-16BE', (bytes) => Buffer.from(bytes).swap16().toString('utf16le')),
};

function utf16(name: string, decode: (bytes: Buffer) => string): Codec {
  const whole = (bytes: Buffer): number => {
    const even = bytes.length - (bytes.length % 2);
    const endsInsidePair = even > 0 && /[\ud800-\udbff]$/.test(decode(bytes.subarray(even - 2, even)));
    return endsInsidePair ? even - 2 : even;
  };
  const fault = (bytes: Buffer): number | undefined => {
    const text = decode(bytes.subarray(0, bytes.length - (bytes.length % 2)));
    const half = text.search(/\p{Surrogate}/u);
    if (half >= 0) return countNewlines(text.slice(0, half));
    return bytes.length % 2 === 0 ? undefined : countNewlines(text);
  };
  return { name, instead: name, whole, decode, fault };
}

function countNewlines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

function wholeUtf8(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!;
    const isContinuation = (byte & 0xc0) === 0x80;
    if (isContinuation) continue;
    const width = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return width > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function linesBeforeFault(bytes: Buffer): number {
  let start = 0;
  for (let lines = 0; ; lines++) {
    const end = bytes.indexOf(NEWLINE, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return lines;
    start = end + 1;
  }
}
