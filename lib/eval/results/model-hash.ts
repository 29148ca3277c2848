import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../base/file.js';
import { type HashOptions, hashFile } from '../../base/file-hash.js';
import { adapterContents, isAdapter } from '../../checkpoint/adapter.js';
import { BASELINE_FILE } from '../../checkpoint/baseline-manifest.js';
import { openCheckpoint, readConfig } from '../../checkpoint/dense-checkpoint.js';
import { combineHashes, hashCheckpoint, hashConfig } from '../../checkpoint/hash.js';
import { findDefinition } from '../../data/tokenizer/definition.js';

/**
 * SHA-256 of all that decides what a model answers: weights, configuration and tokenizer of a dense one, of an adapter its base's
 * and what it adds; of what was made of
 * several the manifest, which has the hashes of members that lie elsewhere, and the weights beside it. Throws what reading
 * them throws, ABORTED.
 *
 * @param folder the model's folder
 */
export async function hashModel(folder: string, options: HashOptions = {}): Promise<string> {
  if (await isAdapter(folder)) {
    const { adapter } = await openCheckpoint(folder, options);
    const parts = [await hashModel(adapter!.base, options), combineHashes(await adapterContents(adapter!, options))];
    return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  }
  const made = (await exists(join(folder, 'bts.json'))) || (await exists(join(folder, BASELINE_FILE)));
  const parts = made
    ? (await readdir(folder))
        .filter((name) => /^(bts|baseline|tokenizer)\.json$|\.safetensors$/.test(name))
        .sort()
        .map((name) => hashFile(join(folder, name), options))
    : [
        hashCheckpoint(folder, options),
        readConfig(folder).then(hashConfig),
        findDefinition(folder).then((tokenizer) => tokenizer?.hash ?? null),
      ];
  return createHash('sha256')
    .update(JSON.stringify(await Promise.all(parts)))
    .digest('hex');
}
