import { createHash } from 'node:crypto';
import type { Abortable } from '../base/errors.js';
import { readRegion } from '../base/file.js';
import { readConfig } from './dense-checkpoint.js';
import type { ModelConfig } from './model-config.js';
import { streamTensor } from './safetensors.js';
import { readCheckpoint } from './shards.js';

/** SHA-256 of a file's bytes, in hexadecimal. @throws FILE_NOT_FOUND, FILE_IO, ABORTED */
export async function hashFile(path: string, { signal }: Abortable = {}): Promise<string> {
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
export async function hashTensors(folder: string, { signal }: Abortable = {}): Promise<Map<string, string>> {
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
export async function hashCheckpoint(folder: string, options: Abortable = {}): Promise<string> {
  return combineHashes(await hashTensors(folder, options));
}

/**
 * What a configuration says, in a form that stays: models that were stitched remember its hash. What came to configurations
 * later stands at the end, and only where a model makes use of it.
 */
function meaning(config: ModelConfig): Record<string, unknown> {
  const { family, vocabularySize, width, layers, maxPositions, bosToken, eosTokens, dtype } = config;
  const { attention, feedForward, norm, rope, embedding, logitSoftcap } = config;
  const { heads, keyValueHeads, headWidth, window } = attention;
  const plain = {
    family,
    vocabularySize,
    width,
    layers,
    feedForwardWidth: feedForward.width,
    heads,
    keyValueHeads,
    headWidth,
    normEpsilon: norm.epsilon,
    tiedEmbeddings: embedding.tied,
    attentionBias: attention.bias,
    outputBias: attention.outputBias,
    feedForwardBias: feedForward.bias,
    headNorms: attention.queryKeyNorm === 'head',
    maxPositions,
    slidingWindow: window?.tokens ?? null,
    rope: rope.global,
    bosToken,
    eosTokens,
    dtype,
  };
  const later: [name: string, value: unknown, plain: unknown][] = [
    ['queryKeyNorm', attention.queryKeyNorm === 'projection', false],
    ['scale', attention.scale, 1 / Math.sqrt(headWidth)],
    ['softcap', attention.softcap, null],
    ['windowLayers', window && window.layers.length < layers ? window.layers : null, null],
    ['activation', feedForward.activation, 'silu'],
    ['normOffset', norm.offset, 0],
    ['normPlace', norm.place, 'before'],
    ['rotated', rope.width, headWidth],
    ['localRope', JSON.stringify(window ? rope.local : rope.global), JSON.stringify(rope.global)],
    ['layersWithoutRope', rope.skipped.length > 0 ? rope.skipped : null, null],
    ['embeddingScale', embedding.scale, 1],
    ['logitSoftcap', logitSoftcap, null],
  ];
  const used = later.filter(([, value, plain]) => value !== plain).map(([name, value]) => [name, value]);
  return { ...plain, ...Object.fromEntries(used) };
}

/**
 * SHA-256 of what a folder's configuration means to this package, in hexadecimal: old and new style, or another order of
 * keys, give the same. @throws FILE_NOT_FOUND, FILE_IO, BAD_CONFIG
 */
export async function hashConfig(folder: string): Promise<string> {
  return createHash('sha256')
    .update(JSON.stringify(meaning(await readConfig(folder))))
    .digest('hex');
}
