import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { exists } from '../../checkpoint/file.js';
import { hashCheckpoint, hashConfig, hashFile, hashTokenizer } from '../../checkpoint/hash.js';

/**
 * SHA-256 of all that decides what a model answers: weights, configuration and tokenizer, or a stitched model's manifest, which
 * has those of its members, and stitches. Throws what reading them throws, ABORTED.
 */
export async function hashModel(folder: string, signal?: AbortSignal): Promise<string> {
  const options = { signal };
  const parts = (await exists(join(folder, 'bts.json')))
    ? [hashFile(join(folder, 'bts.json'), options), hashFile(join(folder, 'stitch.safetensors'), options)]
    : [hashCheckpoint(folder, options), hashConfig(folder), hashTokenizer(folder, options)];
  return createHash('sha256')
    .update(JSON.stringify(await Promise.all(parts)))
    .digest('hex');
}
