import { type Abortable, BtsError } from '../../base/errors.js';
import type { HashOptions } from '../../base/file-hash.js';
import { logSumExp } from '../../base/log-sum-exp.js';
import { expectOptions } from '../../base/options-check.js';
import { type ReferringManifest, readBaseline, writeBaseline } from '../../checkpoint/baseline-manifest.js';
import { type Batch, IGNORED } from '../../data/packing.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { BatchSize } from '../cost/cost.js';
import type { KeyValueCache, TokenCache } from '../decoding/key-value-cache.js';
import type { DenseModel } from '../dense-model.js';
import { LanguageModel } from '../language-model.js';
import { FAMILY_OPTIONS, type Family, type OpenMember, openFamily, openMembers } from '../members/member-files.js';
import { copyTokenizer } from '../save.js';
import { QUANTIZE_OPTIONS, type QuantizeOptions } from '../transformer/quantization.js';
import { Posterior } from './posterior.js';
import { describeMembers, loadMembers } from './several-models.js';

export interface EnsembleLoadOptions extends HashOptions, QuantizeOptions {}

/** The caches of all models, and which of them each sequence seems to come from. */
export class EnsembleCache implements TokenCache {
  /** @internal */
  readonly posteriors: Posterior[];
  /** @internal Of each sequence, what each model expects next: logits [V]; absent before the first tokens. */
  readonly next: (readonly Float32Array[] | undefined)[];

  /** @internal */
  constructor(
    /** @internal */
    readonly caches: readonly KeyValueCache[],
    /** Tokens of each sequence. */
    readonly lengths: number[],
    /** Tokens of a sequence, at most. */
    readonly capacity: number,
  ) {
    this.posteriors = lengths.map(() => new Posterior(caches.length));
    this.next = lengths.map(() => undefined);
  }

  copySequence(source: EnsembleCache, from: number, to: number): void {
    for (const [m, cache] of this.caches.entries()) cache.copySequence(source.caches[m]!, from, to);
    this.posteriors[to] = source.posteriors[from]!.clone();
    this.next[to] = source.next[from];
    this.lengths[to] = source.lengths[from]!;
  }

  dispose(): void {
    for (const cache of this.caches) cache.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Branch-Train-Merge's ensemble: the models' next-token distributions, weighted by each model's posterior probability,
 * which is updated along the sequence. Nothing is trained.
 */
export class EnsembleModel extends LanguageModel {
  readonly trainable = [];

  private constructor(
    device: Device,
    private readonly models: readonly DenseModel[],
    /** @internal */
    readonly manifest: ReferringManifest,
    tokenizer: Tokenizer | undefined,
  ) {
    super(device, tokenizer);
  }

  override get config() {
    return this.models[0]!.config;
  }

  /** Throws MEMBERS_DIFFER and whatever loading a checkpoint throws. */
  static async create(device: Device, options: Family): Promise<EnsembleModel> {
    expectOptions('EnsembleModel.create', options, FAMILY_OPTIONS);
    const opened = await openFamily(options);
    const manifest = { system: 'btm', members: await describeMembers(opened) } as const;
    return await EnsembleModel.of(device, manifest, opened, { signal: options.signal });
  }

  /**
   * Throws BAD_STITCH, MEMBER_CHANGED and whatever loading a checkpoint throws.
   *
   * @param folder the model's folder
   */
  static async load(device: Device, folder: string, options: EnsembleLoadOptions = {}): Promise<EnsembleModel> {
    expectOptions('EnsembleModel.load', options, { verify: true, signal: true, ...QUANTIZE_OPTIONS });
    const { verify, signal, ...bits } = options;
    const manifest = (await readBaseline(folder)) as ReferringManifest;
    const opened = await openMembers(manifest.members, { verify, signal });
    return await EnsembleModel.of(device, manifest, opened, { signal, ...bits });
  }

  private static async of(
    device: Device,
    manifest: ReferringManifest,
    opened: readonly OpenMember[],
    options: Abortable & QuantizeOptions,
  ) {
    const { models, tokenizer } = await loadMembers(device, opened, options);
    return new EnsembleModel(device, models, manifest, tokenizer);
  }

  override trainingLoss(): Tensor {
    throw new BtsError('BAD_OPTION', 'an ensemble has nothing to train.');
  }

  override inferenceBytes(size: BatchSize): number {
    return this.models.reduce((sum, model) => sum + model.inferenceBytes(size), 0);
  }

  override async losses(batch: Batch): Promise<Float32Array> {
    this.expectBatch(batch);
    const { inputs, targets, tokens } = batch;
    // Every token is evidence, also where its loss is not asked for.
    const next = (i: number) => ((i + 1) % tokens === 0 ? IGNORED : inputs[i + 1]!);
    const evidence = targets.map((target, i) => (target >= 0 ? target : next(i)));
    const all = await Promise.all(this.models.map((model) => model.losses({ ...batch, targets: evidence })));
    const losses = new Float32Array(targets.length);
    let posterior = new Posterior(all.length);
    for (let i = 0; i < losses.length; i++) {
      if (i % tokens === 0) posterior = new Posterior(all.length);
      const own = all.map((losses) => losses[i]!);
      if (targets[i]! >= 0) losses[i] = posterior.loss(own);
      posterior.observe(own);
    }
    return losses;
  }

  override async logits(ids: ArrayLike<number>, batch = 1): Promise<Float32Array> {
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    const { vocabularySize: V } = this.config;
    this.expectLogits(inputs.length, this.models.length + 1);
    const all = await Promise.all(this.models.map((model) => model.logits(inputs, batch)));
    const expected = new Float32Array(inputs.length * V);
    let posterior = new Posterior(all.length);
    for (let i = 0; i < inputs.length; i++) {
      if (i % tokens === 0) posterior = new Posterior(all.length);
      const rows = all.map((logits) => logits.subarray(i * V, (i + 1) * V));
      expected.set(posterior.nextToken(rows), i * V);
      if ((i + 1) % tokens !== 0) posterior.observe(rows.map((row) => lossOf(row, inputs[i + 1]!)));
    }
    return expected;
  }

  override createCache(batch: number, capacity: number): EnsembleCache {
    const caches: KeyValueCache[] = [];
    try {
      for (const model of this.models) caches.push(model.createCache(batch, capacity));
    } catch (error) {
      for (const cache of caches) cache[Symbol.dispose]();
      throw error;
    }
    return new EnsembleCache(caches, new Array<number>(batch).fill(0), capacity);
  }

  override async extend(cache: EnsembleCache, ids: ArrayLike<number>): Promise<Float32Array> {
    const batch = cache.lengths.length;
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    const { vocabularySize: V } = this.config;
    const all = await Promise.all(this.models.map((model, m) => model.extendWithLosses(cache.caches[m]!, inputs)));
    const expected = new Float32Array(batch * V);
    for (const [b, posterior] of cache.posteriors.entries()) {
      const first = inputs[b * tokens]!;
      if (cache.next[b]) posterior.observe(cache.next[b].map((logits) => lossOf(logits, first)));
      for (let t = 1; t < tokens; t++) posterior.observe(all.map(({ losses }) => losses[b * tokens + t]!));
      cache.next[b] = all.map(({ logits }) => logits.subarray(b * V, (b + 1) * V));
      expected.set(posterior.nextToken(cache.next[b]), b * V);
      cache.lengths[b]! += tokens;
    }
    return expected;
  }

  override async write(folder: string): Promise<void> {
    this.expectAlive();
    await writeBaseline(folder, this.manifest);
    await copyTokenizer(this.manifest.members[0]!.path, folder);
  }

  protected override free(): void {
    for (const model of this.models) model.dispose();
  }
}

const lossOf = (logits: Float32Array, id: number) => logSumExp(logits) - logits[id]!;
