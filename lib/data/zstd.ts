import { setImmediate } from 'node:timers/promises';
import { Decompress } from 'fzstd';
import { BtsError } from '../base/errors.js';

const FRAME = 0xfd2fb528;
const SKIPPED_FRAME = 0x184d2a50;
/** What levels up to 19 look back on. The decoder moves it all for each block: with more it would be too slow to be of use. */
const MAX_WINDOW_BYTES = 2 ** 23;
const MAX_BLOCK_BYTES = 2 ** 17;
/** What is decompressed in one go: a block of 4 bytes may stand for 128 KiB. */
const SLICE_BYTES = 2 ** 7;
/** The event loop gets a turn when decompressing has kept it for this long. */
const TURN_MS = 10;

/** Whether bytes start as Zstandard does. */
export function isZstd(start: Buffer): boolean {
  if (start.length < 4) return false;
  const magic = start.readUInt32LE();
  return magic === FRAME || (magic & 0xfffffff0) === SKIPPED_FRAME;
}

/**
 * What a Zstandard stream holds. Its checksums are not compared.
 *
 * @throws BAD_DATA where it would take too much memory; an Error where it is damaged
 */
export async function* readZstd(stored: AsyncIterable<Buffer>, path: string): AsyncGenerator<Buffer> {
  const parts: Buffer[] = [];
  const stream = new Decompress(({ buffer, byteOffset, byteLength }) => {
    if (byteLength > MAX_BLOCK_BYTES) throw new Error('a block is larger than blocks can be');
    parts.push(Buffer.from(buffer, byteOffset, byteLength));
  });
  let isStart = true;
  let turnEnds = performance.now() + TURN_MS;
  for await (const chunk of stored) {
    if (isStart) checkWindow(chunk, path);
    isStart = false;
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
      stream.push(chunk.subarray(at, at + SLICE_BYTES));
      yield* parts.splice(0);
      if (performance.now() < turnEnds) continue;
      await setImmediate();
      turnEnds = performance.now() + TURN_MS;
    }
  }
  stream.push(new Uint8Array(), true);
  yield* parts.splice(0);
}

function checkWindow(start: Buffer, path: string): void {
  const bytes = windowBytes(start);
  if (bytes <= MAX_WINDOW_BYTES) return;
  throw new BtsError(
    'BAD_DATA',
    `'${path}' takes ${bytes} bytes of memory to be decompressed, and ${MAX_WINDOW_BYTES} are granted. Decompress it first: zstd -d --long=31.`,
  );
}

/** How far back the first frame refers. Those that follow it in a file are made the same way. */
function windowBytes(start: Buffer): number {
  const [descriptor, window] = [start[4], start[5]];
  if (start.readUInt32LE() !== FRAME || descriptor === undefined || window === undefined) return 0;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) return 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
  // All of the content, the size of which stands behind the number of a dictionary.
  const at = 5 + [0, 1, 2, 4][descriptor & 3]!;
  const sizeBytes = [1, 2, 4, 8][descriptor >> 6]!;
  if (start.length < at + sizeBytes) return 0;
  return sizeBytes === 8 ? Number(start.readBigUInt64LE(at)) : start.readUIntLE(at, sizeBytes);
}
