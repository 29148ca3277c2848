import { createHash } from 'node:crypto';
import { type HashOptions, hashRegions } from '../base/file-hash.js';
import type { ModelConfig } from './model-config.js';
import type { TensorEntry } from './safetensors.js';
import { readCheckpoint } from './shards.js';

/**
 * What each tensor holds, by name: its dtype, shape and the SHA-256 of its bytes in one string, so that equal strings mean
 * equal tensors.
 *
 * @throws FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function hashTensors(
  tensors: Iterable<TensorEntry>,
  options: HashOptions = {},
): Promise<Map<string, string>> {
  const files = new Map<string, TensorEntry[]>();
  for (const tensor of tensors) {
    const inFile = files.get(tensor.path);
    if (inFile) inFile.push(tensor);
    else files.set(tensor.path, [tensor]);
  }
  const contents = new Map<string, string>();
  for (const [path, inFile] of files) {
    const hashes = await hashRegions(path, inFile, options);
    for (const [i, { name, dtype, shape }] of inFile.entries()) contents.set(name, `${dtype} [${shape}] ${hashes[i]}`);
  }
  return contents;
}

/** SHA-256 over all tensors, names and contents, in the order of the names, in hexadecimal. */
export function combineHashes(tensors: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256');
  for (const entry of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${JSON.stringify(entry)}\n`);
  return hash.digest('hex');
}

/**
 * SHA-256 of a checkpoint's weights, in hexadecimal. It depends on names and contents of the tensors, and not on the files
 * that they lie in: a checkpoint that is cut into other shards keeps it.
 *
 * @throws BAD_SAFETENSORS, FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function hashCheckpoint(folder: string, options: HashOptions = {}): Promise<string> {
  return combineHashes(await hashTensors((await readCheckpoint(folder)).values(), options));
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
    ['packing', config.packing ?? null, null],
  ];
  const used = later.filter(([, value, plain]) => value !== plain).map(([name, value]) => [name, value]);
  return { ...plain, ...Object.fromEntries(used) };
}

/**
 * SHA-256 of what a configuration means to this package, in hexadecimal: old and new style, or another order of keys, give
 * the same.
 */
export function hashConfig(config: ModelConfig): string {
  return createHash('sha256')
    .update(JSON.stringify(meaning(config)))
    .digest('hex');
}
