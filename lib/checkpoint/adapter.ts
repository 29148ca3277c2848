/** Adapters of low rank as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`. */
import { join, resolve } from 'node:path';
import type { Fail } from '../base/check.js';
import { BtsError } from '../base/errors.js';
import { exists, readJson } from '../base/file.js';
import type { HashOptions } from '../base/file-hash.js';
import { ADAPTER_CONFIG, type Adaptation, type AdapterConfig, parseAdapterConfig } from './adapter-config.js';
import type { ModelConfig } from './config.js';
import { hashTensors } from './hash.js';
import { type ParameterSpec, parameterNames, rolesOf } from './names.js';
import { readSafetensors, type TensorEntry } from './safetensors.js';
import { quote } from './safetensors-header.js';

export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
/** What PEFT puts before the names of all tensors. */
export const ADAPTER_PREFIX = 'base_model.model.';

/** What PEFT calls one of the two matrices of a module, behind `ADAPTER_PREFIX`. */
export const lowRankName = (module: string, letter: 'A' | 'B') => `${module}.lora_${letter}.weight`;

/** What an adapter adds to a matrix W [O, I]: `scale * B A`. */
export interface StoredLowRank {
  /** A [R, I]. */
  down: TensorEntry;
  /** B [O, R]. */
  up: TensorEntry;
  scale: number;
}

export interface Adapter {
  /** The folder of the checkpoint that it adapts. */
  base: string;
  /** What that was called where the adapter was trained. */
  baseName: string | undefined;
  /** Its adapter_config.json. */
  json: object;
  /** By the name of the matrix's tensor. */
  lowRank: ReadonlyMap<string, StoredLowRank>;
  /** Tensors that stand in the place of the base's, by the base's names. */
  replaced: ReadonlyMap<string, TensorEntry>;
}

/** Whether an adapter lies in a folder, and no checkpoint. */
export async function isAdapter(folder: string): Promise<boolean> {
  return (await exists(join(folder, ADAPTER_CONFIG))) && !(await exists(join(folder, 'config.json')));
}

/** @throws FILE_NOT_FOUND, FILE_IO, BAD_ADAPTER */
async function readAdapterConfig(folder: string): Promise<AdapterConfig> {
  const path = join(folder, ADAPTER_CONFIG);
  const fail = (reason: string) => new BtsError('BAD_ADAPTER', `'${path}': ${reason}.`);
  return parseAdapterConfig(await readJson(path, 'BAD_ADAPTER'), fail);
}

/**
 * The folder of an adapter's base, as far as it is said where it lies: from the adapter's folder or from the working one.
 *
 * @throws BAD_ADAPTER where it is not there; FILE_NOT_FOUND, FILE_IO
 */
export async function findBase(folder: string): Promise<string> {
  const { base } = await readAdapterConfig(folder);
  const places = base === undefined ? [] : [resolve(folder, base), resolve(base)];
  for (const place of places) if (await exists(join(place, 'config.json'))) return place;
  const named = base === undefined ? 'says of no base' : `is one of ${quote(base)}, which is no folder here`;
  throw new BtsError(
    'BAD_ADAPTER',
    `'${folder}' is an adapter and ${named}. Name it as an expert of the hub that it was trained on.`,
  );
}

/**
 * Reads an adapter of a base with this configuration, without its data.
 *
 * @param base the folder of the base
 * @throws FILE_NOT_FOUND, FILE_IO, BAD_SAFETENSORS, BAD_ADAPTER with the tensor that is wrong
 */
export async function readAdapter(folder: string, base: string, config: ModelConfig): Promise<Adapter> {
  const said = await readAdapterConfig(folder);
  const path = join(folder, ADAPTER_WEIGHTS);
  if (!(await exists(path)) && (await exists(join(folder, 'adapter_model.bin')))) {
    const message = `'${folder}' has its weights in adapter_model.bin. Only safetensors are read: save it with safe_serialization.`;
    throw new BtsError('FILE_NOT_FOUND', message);
  }
  const { tensors } = await readSafetensors(path);
  return { base, baseName: said.base, json: said.json, ...match(config, said, tensors, folder) };
}

/** All tensors of an adapter's file that are read. */
export function adapterTensors({ lowRank, replaced }: Adapter): TensorEntry[] {
  return [...[...lowRank.values()].flatMap(({ down, up }) => [down, up]), ...replaced.values()];
}

/** What decides what an adapter does to its base: contents of tensors, and scales. @throws FILE_NOT_FOUND, FILE_IO, ABORTED */
export async function adapterContents(adapter: Adapter, options: HashOptions = {}): Promise<Map<string, string>> {
  const contents = await hashTensors(adapterTensors(adapter), options);
  for (const [name, { scale }] of adapter.lowRank) contents.set(`${name} scale`, `${scale}`);
  return contents;
}

const SUFFIX = /\.(weight|bias)$/;
/** What PEFT calls the module of a tensor. */
export const moduleOf = (tensor: string) => tensor.replace(SUFFIX, '');

/** Holds what a file has against what the configuration says. */
function match(
  config: ModelConfig,
  said: AdapterConfig,
  tensors: ReadonlyMap<string, TensorEntry>,
  folder: string,
): Pick<Adapter, 'lowRank' | 'replaced'> {
  const fail = (reason: string) => new BtsError('BAD_ADAPTER', `'${folder}': ${reason}.`);
  const specs = new Map(parameterNames(config).map((spec) => [spec.name, spec]));
  const adapted = adaptedModules(config, said, fail);
  const left = new Map(tensors);
  const take = (name: string) => {
    const entry = left.get(ADAPTER_PREFIX + name);
    left.delete(ADAPTER_PREFIX + name);
    return entry;
  };
  const lowRank = new Map<string, StoredLowRank>();
  for (const [module, adaptation] of adapted) {
    const [outputs, inputs] = specs.get(`${module}.weight`)!.shape as [number, number];
    const part = (letter: 'A' | 'B', shape: number[]) => {
      const name = lowRankName(module, letter);
      return expectTensor(take(name), ADAPTER_PREFIX + name, shape, { outputs, inputs, adaptation, fail });
    };
    const { rank, scale } = adaptation;
    lowRank.set(`${module}.weight`, { down: part('A', [rank, inputs]), up: part('B', [outputs, rank]), scale });
  }
  const replaced = new Map<string, TensorEntry>();
  for (const [name, spec] of specs) {
    // PEFT keeps a matrix that it adapts one level deeper, and writes the head that way.
    const module = moduleOf(name);
    const kind = name.slice(module.length);
    const entry = take(`${module}.base_layer${kind}`) ?? take(`${module}.modules_to_save${kind}`) ?? take(name);
    if (!entry) {
      if (said.isSaved(module)) throw fail(`tensor ${quote(ADAPTER_PREFIX + name)} of modules_to_save is missing`);
      continue;
    }
    const expected = said.isSaved(module) || adapted.has(module) || (kind === '.bias' && said.bias === 'all');
    if (!expected) throw fail(`nothing in ${ADAPTER_CONFIG} accounts for tensor ${quote(entry.name)}`);
    replaced.set(name, expectTensor(entry, entry.name, spec.shape, { fail }));
  }
  if (config.embedding.tied) expectTied(replaced, left, fail);
  const [unexpected] = left.keys();
  if (unexpected !== undefined) throw fail(`nothing in ${ADAPTER_CONFIG} accounts for tensor ${quote(unexpected)}`);
  return { lowRank, replaced };
}

/** What a configuration says of the modules of such a model. Throws what `fail` makes where it is about what cannot be adapted. */
export function adaptedModules(config: ModelConfig, said: AdapterConfig, fail: Fail): Map<string, Adaptation> {
  const specs = new Map(parameterNames(config).map((spec) => [spec.name, spec]));
  const modules = [...new Set([...[...specs.keys()].map(moduleOf), 'lm_head'])];
  const adapted = said.adaptations(modules, (module) => isMatrixOfLayer(specs.get(`${module}.weight`)));
  const wrongs = [...adapted.keys()].map((module) => whyNotAdapted(module, specs, config)).filter(Boolean);
  if (wrongs.length > 0) throw fail(wrongs[0]!);
  return adapted;
}

export function isMatrixOfLayer(spec: ParameterSpec | undefined): boolean {
  return spec !== undefined && spec.layer !== null && spec.shape.length === 2;
}

/** Why a module cannot have an adapter of low rank; undefined where it can. */
function whyNotAdapted(
  module: string,
  specs: ReadonlyMap<string, ParameterSpec>,
  { embedding }: ModelConfig,
): string | undefined {
  if (module === 'lm_head' && embedding.tied)
    return "'lm_head' is adapted, but it is the base's embedding, which would stay as it is: merge the adapter first";
  const spec = specs.get(`${module}.weight`);
  if (spec && rolesOf(spec)[0] === 'embedding')
    return `${quote(module)} is adapted: of embeddings that is not supported, save them whole (modules_to_save) or merge the adapter`;
  if (spec?.shape.length !== 2) return `${quote(module)} is adapted, which is no matrix`;
  return undefined;
}

interface Expected {
  outputs?: number;
  inputs?: number;
  adaptation?: Adaptation;
  fail: (reason: string) => BtsError;
}

function expectTensor(entry: TensorEntry | undefined, name: string, shape: readonly number[], of: Expected) {
  const { outputs, inputs, adaptation, fail } = of;
  if (!entry) throw fail(`tensor ${quote(name)} is missing`);
  if (!['F32', 'F16', 'BF16'].includes(entry.dtype))
    throw fail(`tensor ${quote(name)} is ${entry.dtype}, not F32, F16 or BF16`);
  if (`${entry.shape}` === `${shape}`) return entry;
  const why = adaptation ? `: rank ${adaptation.rank} of ${ADAPTER_CONFIG} and the base's [${outputs},${inputs}]` : '';
  throw fail(`tensor ${quote(name)} is [${entry.shape}], not [${shape}]${why}`);
}

/** A head that was saved beside the embedding that it is must be that embedding. */
function expectTied(
  replaced: ReadonlyMap<string, TensorEntry>,
  left: Map<string, TensorEntry>,
  fail: (reason: string) => BtsError,
): void {
  const head = [...left.keys()].find((name) => /^base_model\.model\.lm_head\.(base_layer\.)?weight$/.test(name));
  if (head === undefined && !replaced.has('model.embed_tokens.weight')) return;
  throw fail(
    `${quote(head ?? 'model.embed_tokens')} was saved whole, but head and embedding of the base are one: ` +
      'merge the adapter first',
  );
}
