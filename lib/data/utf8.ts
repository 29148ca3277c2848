import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { BtsError, fileError } from '../errors.js';

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = '\ufeff';

/**
 * The text of a UTF-8 file in chunks of at most 64 KiB, none of which ends within a character. A byte order mark is
 * dropped; line ends are kept as they are.
 *
 * @throws BAD_DATA naming file and line where the bytes are not UTF-8; FILE_NOT_FOUND, FILE_IO
 */
export async function* readUtf8(path: string): AsyncGenerator<string> {
  let line = 1;
  let first = true;
  let rest: Buffer = Buffer.alloc(0);

  const decode = (bytes: Buffer): string => {
    if (!isUtf8(bytes)) throw notUtf8(path, line + linesBeforeFault(bytes));
    const text = bytes.toString('utf8');
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) line++;
    const start = first && text.startsWith(BYTE_ORDER_MARK) ? 1 : 0;
    first = false;
    return text.slice(start);
  };

  try {
    for await (const chunk of createReadStream(path)) {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : (chunk as Buffer);
      const whole = wholeCharacters(bytes);
      rest = bytes.subarray(whole);
      if (whole > 0) yield decode(bytes.subarray(0, whole));
    }
    if (rest.length > 0) yield decode(rest);
  } catch (error) {
    throw fileError(error, path, 'Reading text');
  }
}

/** The lines of a UTF-8 file without their line ends. @throws like `readUtf8`, and BAD_DATA where one is too long */
export async function* readLines(path: string, maxCharacters: number): AsyncGenerator<string> {
  let open = '';
  let line = 1;
  for await (const chunk of readUtf8(path)) {
    const lines = chunk.split('\n');
    lines[0] = open + lines[0];
    open = lines.pop()!;
    for (const text of lines) {
      line++;
      yield text.endsWith('\r') ? text.slice(0, -1) : text;
    }
    if (open.length > maxCharacters) {
      throw new BtsError('BAD_DATA', `${path}:${line}: the line is longer than ${maxCharacters} characters. Split it.`);
    }
  }
  if (open) yield open;
}

function notUtf8(path: string, line: number): BtsError {
  return new BtsError('BAD_DATA', `${path}:${line}: the text is not valid UTF-8. Convert the file, or leave it out.`);
}

/** How many of `bytes` lie before a character that is cut off at the end. */
function wholeCharacters(bytes: Buffer): number {
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
