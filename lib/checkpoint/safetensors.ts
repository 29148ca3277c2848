import { BtsError } from '../base/errors.js';
import { readAt, readRegion, stampOf, withFile } from '../base/file.js';
import { describeLfsPointer } from '../base/json.js';
import { badSafetensors, type Dtype, MAX_HEADER_BYTES, parseHeader, quote } from './safetensors-header.js';

/** Where a tensor lies in a file. */
export interface TensorEntry {
  name: string;
  dtype: Dtype;
  shape: number[];
  path: string;
  /** From the start of the file, in bytes. Not necessarily a multiple of the element size. */
  offset: number;
  bytes: number;
  /** Of the file when its header was read, which it must have when this is read. */
  stamp: string;
}

export interface SafetensorsFile {
  path: string;
  metadata: Map<string, string>;
  /** In the order of their data. */
  tensors: Map<string, TensorEntry>;
}

/**
 * Reads and checks the header of a safetensors file, not its data.
 *
 * @throws BAD_SAFETENSORS, FILE_NOT_FOUND, FILE_IO
 */
export function readSafetensors(path: string): Promise<SafetensorsFile> {
  return withFile(path, async (file, fileBytes) => {
    const pointer = describeLfsPointer(await readAt(file, 0, Math.min(fileBytes, 1024)));
    if (pointer) throw badSafetensors(path, `it ${pointer}`);
    const length = await readAt(file, 0, 8);
    if (length.length < 8) throw badSafetensors(path, `it has ${fileBytes} bytes, fewer than the 8 of a header length`);
    const claimed = length.readBigUInt64LE();
    if (claimed > MAX_HEADER_BYTES) {
      throw badSafetensors(path, `it claims a header of ${claimed} bytes, the limit is ${MAX_HEADER_BYTES}`);
    }
    const headerBytes = Number(claimed);
    const start = 8 + headerBytes;
    if (start > fileBytes) {
      throw badSafetensors(path, `it claims a header of ${headerBytes} bytes, but the file has ${fileBytes} in all`);
    }

    const text = decodeUtf8(await readAt(file, 8, headerBytes), path);
    const stamp = await stampOf(file);
    const header = await parseHeader(text, fileBytes - start, path);
    const tensors = new Map<string, TensorEntry>();
    for (const { name, dtype, shape, begin, end } of header.tensors) {
      tensors.set(name, { name, dtype, shape, path, offset: start + begin, bytes: end - begin, stamp });
    }
    return { path, metadata: header.metadata, tensors };
  });
}

function decodeUtf8(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw badSafetensors(path, 'the header is not UTF-8');
  }
}

/**
 * Hands a tensor's bytes to `use`, a piece at a time.
 *
 * @throws BAD_SAFETENSORS if the file has become shorter since its header was read; FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function streamTensor(
  entry: TensorEntry,
  use: (chunk: Uint8Array) => void,
  signal?: AbortSignal,
): Promise<void> {
  const count = await readRegion(entry, use, signal);
  if (count < entry.bytes) {
    const reason = `tensor ${quote(entry.name)} breaks off after ${count} of ${entry.bytes} bytes`;
    throw badSafetensors(entry.path, `${reason}; the file was changed after it was opened`);
  }
}

/** Reads a whole tensor into memory. @throws what `streamTensor` throws, and OUT_OF_MEMORY */
export async function readTensor(entry: TensorEntry): Promise<Uint8Array> {
  const data = allocate(entry);
  let filled = 0;
  await streamTensor(entry, (chunk) => {
    data.set(chunk, filled);
    filled += chunk.length;
  });
  return data;
}

function allocate({ name, bytes }: TensorEntry): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (error) {
    throw new BtsError('OUT_OF_MEMORY', `tensor ${quote(name)} has ${bytes} bytes, too many at once.`, {
      cause: error,
    });
  }
}
