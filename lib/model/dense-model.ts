import { join } from 'node:path';
import { type Abortable, BtsError } from '../base/errors.js';
import { exists, writeJson } from '../base/file.js';
import type { HashOptions } from '../base/file-hash.js';
import { checkOptions, expectOptions, parseOptions } from '../base/options-check.js';
import { didYouMean } from '../base/suggest.js';
import { configToJson, type ModelConfig } from '../checkpoint/config.js';
import { type DenseCheckpoint, type OpenOptions, openCheckpoint } from '../checkpoint/dense-checkpoint.js';
import { type ParameterSpec, rolesOf } from '../checkpoint/names.js';
import { writeCheckpoint } from '../checkpoint/shards.js';
import { Tokenizer } from '../data/tokenizer.js';
import type { FloatType } from '../tensor/addon.js';
import type { Device } from '../tensor/device.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Adapted, adaptedBy, lowRankParts, trainedRanks, writeAdapted } from './adapters/adapted.js';
import { type LoraOptions, loraOptions, planLora, startLowRank } from './adapters/lora.js';
import { adapterTraining } from './cost/adapter-cost.js';
import { adaptedCost, type BatchSize, denseCost } from './cost/cost.js';
import { DecoderModel, type Pass } from './decoder-model.js';
import { adapterAsHub } from './members/adapter-base.js';
import { expectVocabulary } from './members/vocabulary.js';
import { readTokenizer, type TokenizerFiles, tensorSource, writeTokenizer } from './save.js';
import { type LowRankOf, Member, type MemberOptions, type Trainable, trainedLowRank } from './transformer/member.js';
import type { PackedTypes } from './transformer/packed-types.js';
import {
  expectUnquantized,
  QUANTIZE_OPTIONS,
  type QuantizeOptions,
  quantizeOptions,
} from './transformer/quantization.js';
import { Transformer } from './transformer/transformer.js';

/** Parts of a dense model that can be held fixed while the rest is trained. */
export const FREEZABLE = ['embeddings', 'head', 'norms'] as const;
/** Parts of a model that training can leave as they are. */
export type Freezable = (typeof FREEZABLE)[number];

/** How a dense checkpoint is loaded. */
export interface LoadOptions extends OpenOptions, QuantizeOptions {
  /**
   * Makes the weights trainable, in f32, and an adapter part of them; default: frozen, in the precision of the file. `'adapter'`:
   * what an adapter adds is trainable, and nothing else.
   */
  trainable?: boolean | 'adapter';
  /**
   * With `trainable: true`: what stays as it is. `head` is what a hub reads experts with: final norm and output weights, which
   * in a tied model are the embeddings.
   */
  freeze?: readonly Freezable[];
}

/** How a new adapter is begun, and what the model that it is one of is held in. */
export interface AdaptOptions extends LoraOptions, HashOptions, Pick<QuantizeOptions, 'members'> {}

/** A dense Llama-family model, or such a one with an adapter of low rank. */
export class DenseModel extends DecoderModel {
  /** @internal */
  readonly transformer: Transformer;
  readonly trainable: readonly Parameter[];

  private constructor(
    device: Device,
    private readonly member: Member,
    tokenizer: Tokenizer | undefined,
    private readonly tokenizerFiles: TokenizerFiles,
    private readonly adapted?: Adapted,
  ) {
    super(device, tokenizer);
    this.transformer = new Transformer(device, [member]);
    const all = member.parameters.flatMap((weight) => [weight, ...lowRankParts(weight)]);
    this.trainable = all.filter(({ gradient }) => gradient);
  }

  /**
   * Loads a Hugging Face checkpoint, or an adapter of PEFT with the base that it names.
   * Throws FILE_NOT_FOUND, FILE_IO, BAD_CONFIG, BAD_SAFETENSORS, BAD_CHECKPOINT, BAD_ADAPTER, BAD_TOKENIZER, OUT_OF_MEMORY,
   * ABORTED.
   *
   * @param folder the checkpoint's folder
   */
  static async load(device: Device, folder: string, options: LoadOptions = {}): Promise<DenseModel> {
    expectOptions('DenseModel.load', options, {
      trainable: true,
      freeze: true,
      base: true,
      verify: true,
      signal: true,
      ...QUANTIZE_OPTIONS,
    });
    expectFreezable(options);
    const { base, verify, signal, trainable, members, quantize } = options;
    parseOptions(quantizeOptions, { members, quantize });
    expectUnquantized({ quantize }, 'a dense model has no members with names: say members.');
    if (trainable === true) expectUnquantized({ members }, 'what is trained is f32: leave it out.');
    const checkpoint = await openCheckpoint(folder, { base, verify, signal });
    if (trainable === 'adapter' && !checkpoint.adapter) {
      const message = `'${folder}' is a whole model: DenseModel.adapt begins an adapter of it (bts train --lora).`;
      throw new BtsError('BAD_OPTION', message);
    }
    const tokenizer = await loadTokenizer(await tokenizerFolder(checkpoint), { signal });
    return await DenseModel.of(device, checkpoint, tokenizer, options);
  }

  /**
   * A checkpoint with a new adapter of low rank (LoRA), which alone is trained: `write` writes the adapter as PEFT does, and
   * `load` with `trainable: 'adapter'` goes on with it. It computes what the checkpoint does until it is trained. The same seed
   * begins with the same numbers.
   * Throws BAD_OPTION where targets name nothing, and what `load` throws.
   *
   * @param folder the folder of a whole model, which stays as it is
   */
  static async adapt(device: Device, folder: string, options: AdaptOptions): Promise<DenseModel> {
    const { seed, verify, signal, members, ...lora } = checkOptions(
      'DenseModel.adapt',
      { ...loraOptions, members: quantizeOptions.members },
      options,
      { verify: true, signal: true },
    );
    const checkpoint = await openCheckpoint(folder, { verify, signal });
    if (checkpoint.adapter) throw adapterAsHub(folder);
    const { json, adaptations } = planLora(checkpoint.config, folder, lora);
    const lowRank: LowRankOf = (device, spec) => {
      const adaptation = adaptations.get(spec.name);
      return adaptation && startLowRank(device, spec, adaptation, seed);
    };
    const tokenizer = await loadTokenizer(folder, { signal });
    return await DenseModel.of(device, checkpoint, tokenizer, {
      members,
      signal,
      lowRank,
      adapted: { json, replaced: new Map() },
    });
  }

  /** @internal Loads the weights of a checkpoint that is open, with its tokenizer. */
  static async of(
    device: Device,
    checkpoint: DenseCheckpoint & { contents?: () => Promise<ReadonlyMap<string, string>> },
    tokenizer: Tokenizer | undefined,
    options: LoadOptions & Pick<MemberOptions, 'shared' | 'lowRank' | 'quantized'> & { adapted?: Adapted } = {},
  ): Promise<DenseModel> {
    const { config, folder } = checkpoint;
    expectVocabulary(config, tokenizer, folder);
    const files = await readTokenizer(await tokenizerFolder(checkpoint));
    const isMerged = options.trainable === true;
    const member = await Member.load(device, checkpoint, {
      trainable: trainableRoles(config, options),
      merged: isMerged,
      lowRank: options.trainable === 'adapter' ? trainedLowRank : options.lowRank,
      quantized: options.quantized ?? (options.members === 'files' ? undefined : options.members),
      shared: options.shared,
      signal: options.signal,
    });
    const held = isMerged ? undefined : checkpoint.adapter;
    const adapted = options.adapted ?? (held && adaptedBy(held));
    return new DenseModel(device, member, tokenizer, files, adapted);
  }

  /**
   * A new, untrained model whose tokenizer lies in `tokenizerFolder`. The same seed gives the same weights.
   * Throws BAD_CONFIG, BAD_TOKENIZER, OUT_OF_MEMORY, ABORTED.
   *
   * @param tokenizerFolder where tokenizer.json lies
   * @param seed of the weights
   */
  static async create(
    device: Device,
    config: ModelConfig,
    tokenizerFolder: string,
    seed: number,
    { signal }: Abortable = {},
  ): Promise<DenseModel> {
    const tokenizer = await Tokenizer.load(tokenizerFolder, { signal });
    if (tokenizer.vocabularySize > config.vocabularySize) {
      throw new BtsError(
        'BAD_TOKENIZER',
        `the tokenizer in '${tokenizerFolder}' has ${tokenizer.vocabularySize} tokens, the model's vocabulary ` +
          `${config.vocabularySize}: a new model needs one for each.`,
      );
    }
    const files = await readTokenizer(tokenizerFolder);
    return new DenseModel(device, Member.create(device, config, seed), tokenizer, files);
  }

  /** @internal */
  override hidden(scope: Scope, ids: Tensor, pass: Pass): Tensor {
    let h = this.transformer.embed(scope, ids);
    for (let index = 0; index < this.config.layers; index++) {
      using inner = scope.inner();
      h = scope.exchange(h, inner.leave(this.transformer.layer(inner, index, h, pass)));
    }
    return h;
  }

  override trainingBytes(size: BatchSize): number {
    const { config, parameters } = this.member;
    const ranks = trainedRanks(parameters);
    if (ranks.size > 0) {
      const packed = Object.fromEntries(parameters.map(({ name, value }) => [name, value.dtype])) as PackedTypes;
      return adaptedCost({ config, packed }, size, adapterTraining(config, ranks)).trainingBytes;
    }
    const trained = new Set(this.trainable.map(({ name }) => name));
    return denseCost(config, size, ({ name }) => trained.has(name)).trainingBytes;
  }

  /**
   * Writes config.json, weights and tokenizer as Hugging Face lays them out; of a model that is an adapter of another one its
   * adapter_config.json and weights as PEFT does.
   *
   * @param folder a new, empty folder
   * @param dtype of trained weights; default f32
   */
  override async write(folder: string, dtype?: FloatType): Promise<void> {
    this.expectAlive();
    if (this.adapted) return await writeAdapted(folder, this.adapted, this.member.parameters, dtype);
    const written = this.member.parameters.map((parameter) =>
      tensorSource(parameter, parameter.gradient ? dtype : undefined),
    );
    const { name } = this.member.layer(0).query!;
    const main = written.find((tensor) => tensor.name === name)!.dtype as ModelConfig['dtype'];
    await writeJson(join(folder, 'config.json'), configToJson({ ...this.config, dtype: main }));
    await writeCheckpoint(folder, written);
    await writeTokenizer(folder, this.tokenizerFiles);
  }
}

/** Where a checkpoint's tokenizer lies: an adapter that has none reads as its base does. */
async function tokenizerFolder({ folder, adapter }: DenseCheckpoint): Promise<string> {
  return adapter && !(await exists(join(folder, 'tokenizer.json'))) ? adapter.base : folder;
}

/** The tokenizer of a checkpoint's folder, or undefined if it has none. @throws BAD_TOKENIZER, FILE_IO, ABORTED */
export async function loadTokenizer(folder: string, options: Abortable = {}): Promise<Tokenizer | undefined> {
  try {
    return await Tokenizer.load(folder, options);
  } catch (error) {
    if (error instanceof BtsError && error.code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Throws BAD_OPTION for parts that a model does not have, and where all of it stays as it is. */
function expectFreezable({ trainable = false, freeze = [] }: LoadOptions): void {
  const unknown = freeze.find((part) => !FREEZABLE.includes(part));
  if (unknown !== undefined) {
    const hint = didYouMean(unknown, FREEZABLE) || ` There are ${FREEZABLE.join(', ')}.`;
    throw new BtsError('BAD_OPTION', `freeze: there is no part '${unknown}'.${hint}`);
  }
  if (trainable !== true && freeze.length > 0) {
    throw new BtsError('BAD_OPTION', 'freeze holds parts of a model that is trained: load it with trainable: true.');
  }
}

/** Which parameters the options leave to be trained. */
export function trainableRoles(config: ModelConfig, { trainable = false, freeze = [] }: LoadOptions): Trainable {
  const frozen = new Set<string>();
  if (freeze.includes('embeddings')) frozen.add('embedding');
  if (freeze.includes('head')) {
    frozen.add('finalNorm').add('head');
    if (config.embedding.tied) frozen.add('embedding');
  }
  const norms = freeze.includes('norms');
  const isFrozen = (role: string) => frozen.has(role) || (norms && role.endsWith('Norm'));
  return (spec: ParameterSpec) => trainable === true && !rolesOf(spec).some(isFrozen);
}
