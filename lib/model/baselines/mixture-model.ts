import { join } from 'node:path';
import type { z } from 'zod';
import { checkOptions, expectOptions } from '../../base/options-check.js';
import { hash32, Random } from '../../base/random.js';
import { seed } from '../../base/schema.js';
import {
  type BaselineManifest,
  baselineConfig,
  readBaseline,
  writeBaseline,
} from '../../checkpoint/baseline-manifest.js';
import { configToJson, type ModelConfig } from '../../checkpoint/config.js';
import type { ParameterSpec } from '../../checkpoint/names.js';
import { readSafetensors } from '../../checkpoint/safetensors.js';
import { writeSafetensors } from '../../checkpoint/safetensors-writer.js';
import { Tokenizer } from '../../data/tokenizer.js';
import type { Device } from '../../tensor/device.js';
import * as ops from '../../tensor/ops/index.js';
import { gatedSum, repeat } from '../../tensor/ops/index.js';
import { Parameter } from '../../tensor/parameter.js';
import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type BatchSize, denseCost, TRAINED_BYTES } from '../cost/cost.js';
import { DecoderModel, type Pass } from '../decoder-model.js';
import { type CacheOptions, KeyValueCache } from '../decoding/key-value-cache.js';
import { loadTokenizer } from '../dense-model.js';
import type { LoadModelOptions } from '../language-model.js';
import { FAMILY_OPTIONS, type Family, type OpenMember, openFamily, openMembers } from '../members/member-files.js';
import { expectSameWeights } from '../members/same-weights.js';
import { readTokenizer, type TokenizerFiles, tensorSource, writeTokenizer } from '../save.js';
import { Member } from '../transformer/member.js';
import { expectUnquantized, QUANTIZE_OPTIONS } from '../transformer/quantization.js';
import { ropeLimits } from '../transformer/rope-tables.js';
import { SharedTensors } from '../transformer/shared-tensors.js';
import { loadParameter, type StoredWeights } from '../transformer/stored-parameter.js';
import { Transformer } from '../transformer/transformer.js';
import { averageWeight } from './average.js';
import { MixtureLayers, type MixtureSize, type MixtureWeights } from './mixture-layer.js';
import { type ExpertPart, expertPart, MIXTURES, type MixtureShape, type MixtureSystem } from './mixtures.js';
import { describeMembers } from './several-models.js';

export const mixtureModelOptions = {
  /** Of the routers' initial weights; default 0. */
  seed: seed().meta({ description: "Of the routers' initial weights" }),
};
export interface MixtureModelOptions extends z.input<z.ZodObject<typeof mixtureModelOptions>>, Family {}

const WEIGHTS = 'mixture.safetensors';

interface Parts {
  /** What is averaged. */
  base: Member;
  /** The members' experts, the hub's first. */
  experts: readonly Member[];
  layers: MixtureLayers;
}

/**
 * Mixtures of experts made of a hub and its experts: BTX (feed-forward layers are experts; `btx-soft` mixes all of them,
 * `btx-sample` takes one a token), BAM (attention is, too) and BAM Adapters (experts frozen, a matrix on the output of each
 * trained). What is no expert is the mean of all members' weights. A router, linear in what the experts read, weighs them.
 */
export class MixtureModel extends DecoderModel {
  /** @internal */
  readonly transformer: Transformer;
  readonly trainable: readonly Parameter[];
  private readonly experts: Transformer;
  private readonly shape: MixtureShape;

  private constructor(
    device: Device,
    private readonly parts: Parts,
    /** @internal */
    readonly manifest: BaselineManifest & { system: MixtureSystem },
    tokenizer: Tokenizer | undefined,
    private readonly tokenizerFiles: TokenizerFiles,
  ) {
    super(device, tokenizer);
    this.shape = MIXTURES[manifest.system];
    const limits = ropeLimits([parts.base, ...parts.experts].map(({ config }) => config));
    this.transformer = new Transformer(device, [parts.base], true, limits);
    this.experts = new Transformer(device, parts.experts, true, limits);
    this.trainable = this.parameters.filter(({ gradient }) => gradient);
  }

  /**
   * A mixture to be trained. Throws MEMBERS_DIFFER, OUT_OF_MEMORY and what opening checkpoints throws.
   *
   * @param system which mixture
   */
  static async create(device: Device, system: MixtureSystem, options: MixtureModelOptions): Promise<MixtureModel> {
    const checked = checkOptions('MixtureModel.create', mixtureModelOptions, options, FAMILY_OPTIONS);
    const { hub, seed, signal } = checked;
    const opened = await openFamily(options);
    const { config } = opened[0]!;
    const manifest =
      system === 'bam-adapters'
        ? { system, members: await describeMembers(opened) }
        : { system, experts: opened.map(({ name }) => name), config: configToJson({ ...config, dtype: 'F32' }) };
    const size = mixtureSize(system, config, opened.length);
    const owned: Disposable[] = [];
    try {
      const parts = await ofMembers(device, opened, MIXTURES[system], owned, signal);
      const layers = own(owned, MixtureLayers.create(device, size, seed));
      const files = await readTokenizer(hub);
      const { tokenizer: definition } = opened[0]!;
      const tokenizer = definition && Tokenizer.of(definition);
      return new MixtureModel(device, { ...parts, layers }, manifest, tokenizer, files);
    } catch (error) {
      for (const owner of owned) owner[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Throws BAD_STITCH, MEMBER_CHANGED and whatever loading a checkpoint throws.
   *
   * @param folder the model's folder
   */
  static async load(device: Device, folder: string, options: LoadModelOptions = {}): Promise<MixtureModel> {
    expectOptions('MixtureModel.load', options, { trainable: true, verify: true, signal: true, ...QUANTIZE_OPTIONS });
    expectUnquantized(options, 'a mixture is one model, whose weights stay as they were written: leave it out.');
    const { trainable = false, verify, signal } = options;
    const manifest = (await readBaseline(folder)) as BaselineManifest & { system: MixtureSystem };
    const shape = MIXTURES[manifest.system];
    const { tensors } = await readSafetensors(join(folder, WEIGHTS));
    const owned: Disposable[] = [];
    try {
      let parts: Omit<Parts, 'layers'>;
      if ('members' in manifest) {
        const opened = await openMembers(manifest.members, { verify, signal });
        parts = await ofMembers(device, opened, shape, owned, signal);
      } else {
        const config = baselineConfig(manifest, folder);
        const stored = { tensors, trainable, count: manifest.experts.length, shape };
        parts = await ofFile(device, config, stored, owned, signal);
      }
      const size = mixtureSize(manifest.system, parts.base.config, parts.experts.length);
      const layers = own(owned, MixtureLayers.load(device, size, { tensors, trainable }));
      const files = await readTokenizer(folder);
      const model = new MixtureModel(
        device,
        { ...parts, layers },
        manifest,
        await loadTokenizer(folder, { signal }),
        files,
      );
      await Promise.all(model.parameters.map(({ value }) => value.settled()));
      return model;
    } catch (error) {
      for (const owner of owned) owner[Symbol.dispose]();
      throw error;
    }
  }

  /** All weights under the names of files, where experts' names tell whose they are. */
  private get parameters(): readonly Parameter[] {
    const { base, experts, layers } = this.parts;
    const ofExperts = experts.flatMap((expert, m) => expert.parameters.map((own) => renamed(own, expertName(m, own))));
    return [...base.parameters, ...ofExperts, ...layers.parameters];
  }

  /** At least: what the base alone would keep, beside gradients and moments of all that is trained. */
  override trainingBytes(size: BatchSize): number {
    const trained = this.trainable.reduce((sum, { value }) => sum + value.size, 0);
    const base = denseCost(this.config, size, () => false).trainingBytes;
    return base + TRAINED_BYTES * trained;
  }

  /** @internal */
  override hidden(scope: Scope, ids: Tensor, pass: Pass): Tensor {
    let h = this.transformer.embed(scope, ids);
    for (let index = 0; index < this.config.layers; index++) {
      using inner = scope.inner();
      const afterAttention = this.attention(inner, index, h, pass);
      h = scope.exchange(h, inner.leave(this.feedForward(inner, index, afterAttention, pass)));
    }
    return h;
  }

  private attention(scope: Scope, index: number, h: Tensor, pass: Pass): Tensor {
    using inner = scope.inner();
    const x = this.transformer.attentionNorm(inner, index, h);
    if (!this.hasExperts('attention')) return inner.leave(this.transformer.attention(inner, index, x, pass, h));
    const all = repeat(inner, x, this.experts.members.length);
    const outputs = this.experts.attention(inner, index, all, pass);
    return inner.leave(this.combined(inner, index, 'attention', { x, outputs, h, pass }));
  }

  private feedForward(scope: Scope, index: number, h: Tensor, pass: Pass): Tensor {
    using inner = scope.inner();
    const x = this.transformer.feedForwardNorm(inner, index, h);
    if (!this.hasExperts('feedForward')) return inner.leave(this.transformer.feedForward(inner, index, x, h));
    const all = repeat(inner, x, this.experts.members.length);
    const outputs = this.experts.feedForward(inner, index, all);
    return inner.leave(this.combined(inner, index, 'feedForward', { x, outputs, h, pass }));
  }

  /** h + sum over m of g_m A_m outputs_m, with g the router's weights for x. */
  private combined(
    scope: Scope,
    index: number,
    part: ExpertPart,
    { x, outputs, h, pass }: { x: Tensor; outputs: Tensor; h: Tensor; pass: Pass },
  ): Tensor {
    const { router, adapters }: MixtureWeights = this.parts.layers.at(index, part);
    const adapted = adapters.length > 0 ? ops.linear(scope, outputs, adapters) : outputs;
    const [members, rows] = [outputs.shape[0]!, outputs.shape[1]!];
    const sampled = this.manifest.system === 'btx-sample';
    const residual =
      sampled && pass.seed !== undefined
        ? this.gumbel(scope, hash32(pass.seed, index), (pass.firstRow ?? 0) * pass.tokens, rows)
        : undefined;
    const logits = ops.linear(scope, x, [router], { residual });
    const flat = scope.track(logits.reshape(rows, members));
    return this.transformer.added(scope, index, part, h, (scope, residual) =>
      gatedSum(scope, adapted, flat, { residual, ...(sampled && sampling(pass)) }),
    );
  }

  /** Noise that turns the largest of noisy logits into a sample of their softmax (Gumbel 1954): [1, N, M], behind that of `firstRow` rows. */
  private gumbel(scope: Scope, seed: number, firstRow: number, rows: number): Tensor {
    const members = this.experts.members.length;
    const random = new Random(seed, 'gumbel');
    random.skip(firstRow * members);
    const noise = Float32Array.from(
      { length: rows * members },
      () => -Math.log(-Math.log(random.uniform() || Number.MIN_VALUE)),
    );
    return scope.track(this.device.tensor(noise, [1, rows, members]));
  }

  private hasExperts(part: ExpertPart): boolean {
    return this.shape.experts.includes(part);
  }

  override createCache(batch: number, capacity: number, options: CacheOptions = {}): KeyValueCache {
    this.expectAlive();
    const members = this.hasExperts('attention') ? this.experts.members.length : 1;
    const { pool } = options;
    return new KeyValueCache(this.device, this.config, members, batch, capacity, {
      gates: this.cacheGates(options),
      pool,
    });
  }

  /** Writes baseline.json, the weights that were trained, and the tokenizer. */
  override async write(folder: string): Promise<void> {
    this.expectAlive();
    await writeBaseline(folder, this.manifest);
    const refers = 'members' in this.manifest;
    const written = refers ? this.parts.layers.parameters : this.parameters;
    await writeSafetensors(
      join(folder, WEIGHTS),
      written.map((parameter) => tensorSource(parameter)),
    );
    await writeTokenizer(folder, this.tokenizerFiles);
  }

  protected override free(): void {
    this.parts.layers[Symbol.dispose]();
    this.experts[Symbol.dispose]();
    super.free();
  }
}

/**
 * BTX's sampling: in training one expert a token, drawn by the noise, weighed by its softmax at a temperature that falls
 * to zero; afterwards the likeliest, with all the weight.
 */
function sampling({ seed, progress = 0 }: Pass): { keep: number; temperature: number } {
  return { keep: 1, temperature: seed === undefined ? 0 : 1 - progress };
}

function mixtureSize(system: MixtureSystem, { layers, width }: ModelConfig, members: number): MixtureSize {
  const { experts, adapters }: MixtureShape = MIXTURES[system];
  return { layers, width, members, parts: experts, adapters };
}

const isExpert = (shape: MixtureShape) => (spec: ParameterSpec) => {
  const part = expertPart(spec);
  return part !== undefined && shape.experts.includes(part);
};
const expertName = (m: number, { name }: { name: string }) => `expert.${m}.${name}`;
const renamed = ({ value, gradient }: Parameter, name: string) => new Parameter(name, value, gradient);

function own<T extends Disposable>(owned: Disposable[], made: T): T {
  owned.push(made);
  return made;
}

/** Averages and experts out of the members' own files; trainable unless it is adapters that are trained. */
async function ofMembers(
  device: Device,
  opened: readonly OpenMember[],
  shape: MixtureShape,
  owned: Disposable[],
  signal: AbortSignal | undefined,
) {
  expectSameWeights(opened);
  const isOne = isExpert(shape);
  const trainable = !shape.adapters;
  const average = async (spec: ParameterSpec) => {
    const value = await averageWeight(device, opened, spec);
    return trainable ? Parameter.trainable(device, spec.name, value) : new Parameter(spec.name, value);
  };
  const present = (spec: ParameterSpec) => !isOne(spec);
  const base = own(owned, await Member.gather(opened[0]!.config, average, { present, signal }));
  const experts: Member[] = [];
  using shared = new SharedTensors();
  for (const checkpoint of opened) {
    const options = { trainable: () => trainable, present: isOne, signal, ...(!trainable && { shared }) };
    experts.push(own(owned, await Member.load(device, checkpoint, options)));
  }
  return { base, experts };
}

/** Averages and experts as they were trained and written. */
async function ofFile(
  device: Device,
  config: ModelConfig,
  { count, shape, ...stored }: StoredWeights & { count: number; shape: MixtureShape },
  owned: Disposable[],
  signal: AbortSignal | undefined,
) {
  const isOne = isExpert(shape);
  const load = (name: string, spec: ParameterSpec) => {
    const { value, gradient } = loadParameter(device, stored, name, spec.shape);
    return new Parameter(spec.name, value, gradient);
  };
  const present = (spec: ParameterSpec) => !isOne(spec);
  const base = own(owned, await Member.gather(config, (spec) => load(spec.name, spec), { present, signal }));
  const experts: Member[] = [];
  for (let m = 0; m < count; m++) {
    const create = (spec: ParameterSpec) => load(expertName(m, spec), spec);
    experts.push(own(owned, await Member.gather(config, create, { present: isOne, signal })));
  }
  return { base, experts };
}
