import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { BtsError } from '../errors.js';
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
 * SHA-256 of a checkpoint's weights, in hexadecimal: each tensor's name, dtype, shape and bytes, in the order of the
 * names. What it is not of: files. Cutting a checkpoint into other shards leaves it as it is.
 *
 * @throws BAD_SAFETENSORS, FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function hashCheckpoint(folder: string, { signal }: HashOptions = {}): Promise<string> {
  const tensors = [...(await readCheckpoint(folder)).values()];
  tensors.sort((a, b) => (a.name < b.name ? -1 : 1));
  const hash = createHash('sha256');
  for (const tensor of tensors) {
    // Dtype and shape tell how many bytes follow, so no two checkpoints give the same input.
    hash.update(`${JSON.stringify([tensor.name, tensor.dtype, tensor.shape])}\n`);
    await streamTensor(tensor, (chunk) => hash.update(chunk), signal);
  }
  return hash.digest('hex');
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

/** SHA-256 of a folder's `tokenizer.json`, in hexadecimal; null where it has none. @throws FILE_IO, ABORTED */
export async function hashTokenizer(folder: string, options: HashOptions = {}): Promise<string | null> {
  try {
    return await hashFile(join(folder, 'tokenizer.json'), options);
  } catch (error) {
    if (error instanceof BtsError && error.code === 'FILE_NOT_FOUND') return null;
    throw error;
  }
}
