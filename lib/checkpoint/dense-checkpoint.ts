import { join } from 'node:path';
import { z } from 'zod';
import { check } from '../base/check.js';
import { BtsError, throwIfAborted } from '../base/errors.js';
import { readJson } from '../base/file.js';
import type { HashOptions } from '../base/file-hash.js';
import { recoverFolder } from '../base/folder.js';
import { type Adapter, findBase, isAdapter, readAdapter } from './adapter.js';
import { EosTokens, type ModelConfig, parseConfig } from './config.js';
import { hashTensors } from './hash.js';
import { matchCheckpoint } from './names.js';
import { gatherPacked } from './packed/gather.js';
import type { Stored } from './packed/matrix.js';
import type { TensorEntry } from './safetensors.js';
import { readCheckpoint } from './shards.js';

/** A checkpoint whose files were checked; its weights are still on the disk. */
export interface DenseCheckpoint {
  folder: string;
  config: ModelConfig;
  /** Exactly the tensors of `parameterNames(config)`, in that order; matrices may be in codes. */
  tensors: Map<string, Stored>;
  /** Of an adapter: what it adds to matrices. All other tensors are its base's, or stand in their place. */
  adapter?: Adapter;
}

/** How a checkpoint is opened. */
export interface OpenOptions extends HashOptions {
  /** Of an adapter: the folder of its base; default: the one that it names. */
  base?: string | undefined;
}

/**
 * Opens a Hugging Face checkpoint: reads its configuration and the headers of its weights, and holds one against the
 * other. An adapter of PEFT is opened on its base.
 *
 * @throws FILE_NOT_FOUND, FILE_IO, BAD_CONFIG, BAD_SAFETENSORS, BAD_CHECKPOINT, BAD_ADAPTER, ABORTED
 */
export async function openCheckpoint(folder: string, options: OpenOptions = {}): Promise<DenseCheckpoint> {
  throwIfAborted(options.signal, `opening '${folder}'`);
  await recoverFolder(folder);
  if (await isAdapter(folder)) return await openAdapter(folder, await openBase(folder, options));
  const config = await readConfig(folder);
  return await matchFolder(folder, config, await readCheckpoint(folder), options);
}

async function openBase(folder: string, { base, ...options }: OpenOptions): Promise<DenseCheckpoint> {
  return await openCheckpoint(base ?? (await findBase(folder)), options);
}

/** An adapter on a base that is open. @throws FILE_NOT_FOUND, FILE_IO, BAD_SAFETENSORS, BAD_ADAPTER */
export async function openAdapter(folder: string, base: DenseCheckpoint): Promise<DenseCheckpoint> {
  if (base.adapter) {
    const message = `'${folder}' is an adapter, and so is '${base.folder}', which it would be one of: merge that first.`;
    throw new BtsError('BAD_ADAPTER', message);
  }
  const adapter = await readAdapter(folder, base.folder, base.config);
  return { folder, config: base.config, tensors: new Map([...base.tensors, ...adapter.replaced]), adapter };
}

/** The checkpoint of a configuration and of tensors that were read from one folder. @throws BAD_CHECKPOINT, FILE_IO, ABORTED */
export async function matchFolder(
  folder: string,
  config: ModelConfig,
  stored: ReadonlyMap<string, TensorEntry>,
  options: HashOptions,
): Promise<DenseCheckpoint> {
  const tensors = matchCheckpoint(config, await gatherPacked(config, stored, folder), folder);
  const head = config.embedding.tied ? stored.get('lm_head.weight') : undefined;
  // Embeddings are never in codes.
  const embedding = tensors.get('model.embed_tokens.weight') as TensorEntry;
  if (head && head !== embedding) await requireEqual(head, embedding, folder, options);
  return { folder, config, tensors };
}

/**
 * Reads a folder's `config.json`, of an adapter that of the base that it names, and the end-of-text tokens of its `generation_config.json` where that names any:
 * generation goes by those.
 *
 * @throws FILE_NOT_FOUND, FILE_IO, BAD_CONFIG, BAD_ADAPTER
 */
export async function readConfig(folder: string): Promise<ModelConfig> {
  if (await isAdapter(folder)) return await readConfig(await findBase(folder));
  const path = join(folder, 'config.json');
  const config = parseConfig(await readJson(path, 'BAD_CONFIG'), path);
  const eosTokens = await readGenerationEos(join(folder, 'generation_config.json'));
  return eosTokens.length > 0 ? { ...config, eosTokens } : config;
}

async function readGenerationEos(path: string): Promise<number[]> {
  try {
    const json = await readJson(path, 'BAD_CONFIG');
    const fail = (reason: string) => new BtsError('BAD_CONFIG', `'${path}': ${reason}.`);
    return check(z.object({ eos_token_id: EosTokens }), json, fail).eos_token_id;
  } catch (error) {
    if (error instanceof BtsError && error.code === 'FILE_NOT_FOUND') return [];
    throw error;
  }
}

/** Transformers does not tie two weights that differ, whatever the configuration says; we refuse to guess. */
async function requireEqual(
  head: TensorEntry,
  embedding: TensorEntry,
  folder: string,
  options: HashOptions,
): Promise<void> {
  const contents = await hashTensors([head, embedding], options);
  if (contents.get(head.name) === contents.get(embedding.name)) return;
  throw new BtsError(
    'BAD_CHECKPOINT',
    `'${folder}' says tie_word_embeddings, but its lm_head.weight differs from its embedding. ` +
      'Set tie_word_embeddings to false in config.json, or remove the tensor.',
  );
}
