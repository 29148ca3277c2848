import { createReadStream, type ReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { BtsError, fileError } from '../base/errors.js';
import { isZstd, readZstd } from './zstd.js';

/** A file that unfolds into more than this, and into more than `MAX_RATIO` times its size, is none of text. */
const MAX_FREE_BYTES = 2 ** 30;
const MAX_RATIO = 200;

/** How the names of compressed files end. What was not compressed with gzip or Zstandard is refused when it is read. */
const SUFFIX = /\.(gz|gzip|zst|zstd|bz2|xz|lzma|lz4|lz|lzo|br|z)$/i;

/** The name without an ending such as .gz, which says what is in the file. */
export function uncompressedName(path: string): string {
  return path.replace(SUFFIX, '');
}

/**
 * The bytes of a file, decompressed where it starts as gzip or Zstandard do. Its name does not count: what a download
 * decompressed on its way is often kept under the old one. Memory holds a chunk, and what Zstandard looks back on.
 *
 * @throws BAD_DATA where it is damaged or unfolds into too much; FILE_NOT_FOUND, FILE_IO
 */
export async function* readBytes(path: string): AsyncGenerator<Buffer> {
  const stored = createReadStream(path);
  try {
    const chunks: AsyncIterableIterator<Buffer> = stored[Symbol.asyncIterator]();
    const first = await chunks.next();
    if (first.done) return;
    const whole = startingWith(first.value, chunks);
    const decompress = decompressor(first.value);
    if (decompress) yield* limited(decompress(whole, path), stored, path);
    else yield* whole;
  } catch (error) {
    throw readingError(error, path);
  } finally {
    stored.destroy();
  }
}

async function* startingWith<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

async function* limited(chunks: AsyncIterable<Buffer>, stored: ReadStream, path: string): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > Math.max(MAX_FREE_BYTES, MAX_RATIO * stored.bytesRead)) {
      throw new BtsError(
        'BAD_DATA',
        `'${path}' unfolds into more than ${MAX_RATIO} times its size: it is no text. Leave it out.`,
      );
    }
    yield chunk;
  }
}

type Decompress = (stored: AsyncIterable<Buffer>, path: string) => AsyncIterable<Buffer>;

function decompressor(start: Buffer): Decompress | undefined {
  if (isZstd(start)) return readZstd;
  return start[0] === 0x1f && start[1] === 0x8b ? readGzip : undefined;
}

function readGzip(stored: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const gunzip = createGunzip();
  // An error on either side comes out of the iteration.
  pipeline(stored, gunzip, () => {});
  return gunzip;
}

/** What reading the file itself throws has the call that failed; what decompressing throws has not. */
function readingError(error: unknown, path: string): unknown {
  if (error instanceof BtsError) return error;
  if ((error as NodeJS.ErrnoException).syscall) return fileError(error, path, 'Reading text');
  const reason = error instanceof Error ? error.message : String(error);
  return new BtsError('BAD_DATA', `'${path}' cannot be decompressed: ${reason}. Fetch it again.`, { cause: error });
}
