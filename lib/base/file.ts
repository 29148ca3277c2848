import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { BtsError, type ErrorCode, fileError, throwIfAborted } from './errors.js';
import { parseJson } from './json.js';

const CHUNK_BYTES = 1 << 18;
const MAX_JSON_BYTES = 16 << 20;

/** Opens the regular file at `path`, hands it to `use` with its size in bytes, and closes it whatever happens. */
export async function withFile<T>(path: string, use: (file: FileHandle, bytes: number) => Promise<T>): Promise<T> {
  try {
    // O_NONBLOCK: a named pipe in a file's place would otherwise keep open() waiting for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new BtsError('FILE_IO', `reading: '${path}' is not a regular file.`);
      return await use(file, stat.size);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(error, path, 'reading');
  }
}

/** What changes when a file is written to or replaced: its size and its time. The addon makes the same (native/device.cc). */
export async function stampOf(file: FileHandle): Promise<string> {
  const { size, mtimeNs } = await file.stat({ bigint: true });
  return `${size} ${mtimeNs}`;
}

/** Reads `bytes` bytes from `offset` on; fewer where the file ends sooner. */
export async function readAt(file: FileHandle, offset: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let filled = 0;
  while (filled < bytes) {
    const length = Math.min(bytes - filled, CHUNK_BYTES);
    const { bytesRead } = await file.read(buffer, filled, length, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** A stretch of a file; without `bytes` it goes to the end. */
export interface Region {
  path: string;
  offset: number;
  bytes?: number;
}

/**
 * Hands the region's bytes to `use`, a piece at a time, which is its own until it returns; and returns how many there were: fewer than asked for where
 * the file ends sooner. Throws ABORTED when `signal` fires.
 */
export function readRegion(region: Region, use: (chunk: Uint8Array) => void, signal?: AbortSignal): Promise<number> {
  return withFile(region.path, (file) => streamRegion(file, region, use, signal));
}

/** The same of a file that is open. */
export async function streamRegion(
  file: FileHandle,
  { path, offset, bytes = Number.POSITIVE_INFINITY }: Region,
  use: (chunk: Uint8Array) => void,
  signal?: AbortSignal,
): Promise<number> {
  throwIfAborted(signal, `reading '${path}'`);
  let count = 0;
  const buffers = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)] as const;
  const readInto = (buffer: Buffer, from: number) =>
    file.read(buffer, 0, Math.min(CHUNK_BYTES, bytes - from), offset + from);
  let ahead = readInto(buffers[0], 0);
  for (let turn = 0; ; turn++) {
    const { bytesRead, buffer } = await ahead;
    throwIfAborted(signal, `reading '${path}'`);
    if (bytesRead === 0) return count;
    count += bytesRead;
    // Another thread reads ahead while `use` works on this chunk.
    ahead = readInto(buffers[(turn + 1) % 2]!, count);
    // Whoever is thrown at by `use` does not wait for it.
    ahead.catch(() => {});
    use(buffer.subarray(0, bytesRead));
  }
}

/**
 * Parses a JSON file of `limit` bytes at most, as `parseJson` does; throws `code` where it is no such file.
 */
export function readJson(path: string, code: ErrorCode, limit = MAX_JSON_BYTES): Promise<unknown> {
  const fail = (reason: string) => new BtsError(code, `'${path}' ${reason}.`);
  return withFile(path, async (file, bytes) => {
    if (bytes > limit) throw fail(`has ${bytes} bytes; a file of its kind has at most ${limit}`);
    return parseJson(await readAt(file, 0, bytes), fail);
  });
}

/** Writes a new JSON file, flushed to the disk. @throws FILE_IO if it exists already or the disk is full */
export async function writeJson(path: string, value: unknown): Promise<void> {
  try {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(error, path, 'writing');
  }
}

/** Puts on the disk what was written to a file, or the names in a folder: what was not may be gone after a power failure. */
export async function flush(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Whether anything lies at `path`, be it a dangling link. @throws FILE_IO */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw fileError(error, path, 'looking for a file');
  }
}

/** The `code` of one of Node's errors, such as ENOENT; empty for others. */
export function errorCode(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? '';
}
