import { BtsError } from '../base/errors.js';
import { readBytes } from './compressed.js';
import { encodingOf, SAMPLE_BYTES } from './encoding.js';
import { refuseOtherKinds } from './file-kinds.js';
import { ChunkDecoder } from './text-decoders.js';

const BYTE_ORDER_MARK = '\ufeff';

/**
 * The text of a file in chunks, none of which ends within a character: UTF-8, or UTF-16 with a byte order mark, be it as it is
 * or compressed with gzip or Zstandard. The mark is dropped; line ends are kept as they are.
 *
 * @throws BAD_DATA naming the file, and where it matters the line, and what to do: other encodings, kinds of files and
 *   compressions, and damaged files; FILE_NOT_FOUND, FILE_IO
 */
export async function* readText(path: string): AsyncGenerator<string> {
  let decoder: ChunkDecoder | undefined;
  let atStart = true;
  for await (const chunk of gatherStart(readBytes(path), SAMPLE_BYTES)) {
    if (!decoder) {
      refuseOtherKinds(chunk, path);
      decoder = new ChunkDecoder(encodingOf(chunk, path), path);
    }
    const text = decoder.decode(chunk);
    if (!text) continue;
    yield atStart && text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
    atStart = false;
  }
  decoder?.end();
}

/** The lines of a file, read as `readText` does, without their line ends. @throws BAD_DATA where one is too long, too */
export async function* readLines(path: string, maxCharacters: number): AsyncGenerator<string> {
  let open = '';
  let line = 1;
  for await (const chunk of readText(path)) {
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

/** The same bytes, the first chunk having `bytes` of them at least, or all there are. */
async function* gatherStart(chunks: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (!start) {
      yield chunk;
      continue;
    }
    start = Buffer.concat([start, chunk]);
    if (start.length < bytes) continue;
    yield start;
    start = undefined;
  }
  if (start) yield start;
}
