import { createHash } from 'node:crypto';
import { readConfig } from './dense-checkpoint.js';
import { readRegion } from './file.js';
import { streamTensor } from './safetensors.js';
import { readCheckpoint } from './shards.js';

export interface HashOptions {
  /** Stops the work with an ABORTED error. */
  signal?: AbortSignal | undefined;
}

/** SHA-256 of a file's bytes, in hexadecimal. @throws FILE_NOT_FOUND, FILE_IO, ABORTED */
export async function hashFile(path: string, { signal }: HashOptions = {}): Promise<string> {
  const hash = createHash('sha256');
  await readRegion({ path, offset: 0 }, (chunk) => hash.update(chunk), signal);
  return hash.digest('hex');
}

/**
 * What each tensor of a checkpoint holds, by name: its dtype, shape and the SHA-256 of its bytes in one string, so that equal
 * strings mean equal tensors.
 *
 * @throws BAD_SAFETENSORS, FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function hashTensors(folder: string, { signal }: HashOptions = {}): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const tensor of (await readCheckpoint(folder)).values()) {
    const hash = createHash('sha256');
    await streamTensor(tensor, (chunk) => hash.update(chunk), signal);
    hashes.set(tensor.name, `${tensor.dtype} [${tensor.shape}] ${hash.digest('hex')}`);
  }
  return hashes;
}

/** SHA-256 over all tensors, names and contents, in the order of the names, in hexadecimal. */
export function combineHashes(tensors: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256');
  for (const entry of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${JSON.stringify(entry)}\n`);
  return hash.digest('hex');
}

/**
 * SHA-256 of a checkpoint's weights, in hexadecimal. What it is not of: files. Cutting a checkpoint into other shards leaves
 * it as it is.
 *
 * @throws BAD_SAFETENSORS, FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function hashCheckpoint(folder: string, options: HashOptions = {}): Promise<string> {
  return combineHashes(await hashTensors(folder, options));
}

/**
 * SHA-256 of what a folder's configuration means to this package, in hexadecimal: old and new style, or another order of
 * keys, give the same. @throws FILE_NOT_FOUND, FILE_IO, BAD_CONFIG
 */
export async function hashConfig(folder: string): Promise<string> {
  return createHash('sha256')
    .update(JSON.stringify(await readConfig(folder)))
    .digest('hex');
}
