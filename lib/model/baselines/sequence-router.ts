import { expectAlive } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { type Batch, IGNORED } from '../../data/packing.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import type { Device } from '../../tensor/device.js';
import * as ops from '../../tensor/ops/index.js';
import type { Parameter } from '../../tensor/parameter.js';
import { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { type BatchSize, cacheBytes } from '../cost/cost.js';
import type { DecoderModel } from '../decoder-model.js';
import {
  type CacheOptions,
  expectCacheSize,
  type KeyValueCache,
  type TokenCache,
} from '../decoding/key-value-cache.js';
import type { Draw } from '../decoding/sampler.js';
import { LanguageModel } from '../language-model.js';
import type { CacheGates } from '../stitches/gate-log.js';
import type { Transformer } from '../transformer/transformer.js';

/** How many of a sequence's first tokens the router sees in training. */
const FEWEST_TOKENS = 32;
const MOST_TOKENS = 256;

/** Each sequence's own cache in the model that it was given to. */
export class RoutedCache implements TokenCache {
  #disposed = false;
  /** @internal */
  readonly sequences: ({ model: DecoderModel; cache: KeyValueCache } | undefined)[];

  constructor(
    /** Tokens of each sequence. */
    readonly lengths: number[],
    /** Tokens of a sequence, at most. */
    readonly capacity: number,
    /** Where they were asked for. */
    readonly gates?: CacheGates,
  ) {
    this.sequences = lengths.map(() => undefined);
  }

  copySequence(source: RoutedCache, from: number, to: number): void {
    const sequence = source.sequences[from];
    this.expectAlive();
    this.sequences[to]?.cache.dispose();
    this.sequences[to] = sequence && this.open(sequence.model);
    if (sequence) this.sequences[to]!.cache.copySequence(sequence.cache, 0, 0);
    this.lengths[to] = source.lengths[from]!;
  }

  /** @internal What a sequence needs that is given to a model. */
  open(model: DecoderModel) {
    return { model, cache: model.createCache(1, this.capacity, { gates: this.gates?.options }) };
  }

  /** @internal */
  expectAlive(): void {
    expectAlive(this.#disposed, 'a cache');
  }

  dispose(): void {
    this.#disposed = true;
    for (const sequence of this.sequences) sequence?.cache.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * A linear router on the mean of the hub's embeddings of a sequence's first tokens decides which model the whole sequence is
 * given to. It is trained to prefer the candidate with the lowest loss on the sequence, seeing 32 to 256 tokens; afterwards it
 * sees the whole prompt. What counts as the prompt of a text that is scored is what stands before the first target that
 * counts, or 32 tokens where that is less.
 */
export abstract class SequenceRouter extends LanguageModel {
  readonly trainable: readonly Parameter[];

  protected constructor(
    device: Device,
    tokenizer: Tokenizer | undefined,
    /** [candidates, C] */
    protected readonly router: Parameter,
  ) {
    super(device, tokenizer);
    this.trainable = router.gradient ? [router] : [];
  }

  /** @internal What the router's outputs stand for. */
  protected abstract readonly candidates: readonly DecoderModel[];
  /** @internal Whose embeddings the router reads. */
  protected abstract readonly hub: Transformer;
  /** @internal The model for a sequence, given the router's logits of all candidates. */
  protected abstract modelFor(logits: Float32Array): DecoderModel;

  override get config() {
    return this.hub.config;
  }

  /** The router's cross-entropy against the best candidate of each sequence, a sequence weighing as much as its tokens. */
  override async trainingLoss(scope: Scope, batch: Batch, divisor: number, seed: number): Promise<Tensor> {
    this.expectBatch(batch);
    const best = await this.bestCandidates(batch);
    const most = Math.min(MOST_TOKENS, batch.tokens);
    const fewest = Math.min(FEWEST_TOKENS, most);
    const random = new Random(seed, 'router');
    const draw = () => fewest + random.below(most - fewest + 1);
    // Those of rows that others compute come before.
    const { firstRow = 0 } = batch;
    const seen = Array.from({ length: firstRow + best.length }, draw).slice(firstRow);
    using inner = scope.inner();
    const logits = this.route(inner, batch.inputs, seen);
    const targets = inner.track(this.device.tensor(Int32Array.from(best), [batch.batch]));
    const losses = ops.crossEntropy(inner, logits, targets);
    return inner.leave(ops.sum(inner, losses, batch.tokens / divisor));
  }

  override inferenceBytes(size: BatchSize): number {
    return this.candidates[0]!.inferenceBytes(size);
  }

  /** The candidates are only looked at. */
  override trainingBytes(size: BatchSize): number {
    return this.inferenceBytes(size);
  }

  /** For each sequence the candidate with the lowest loss. */
  private async bestCandidates(batch: Batch): Promise<number[]> {
    const sums: number[][] = [];
    for (const candidate of this.candidates) {
      const losses = await candidate.losses(batch);
      sums.push(Array.from({ length: batch.batch }, (_, b) => total(losses, b * batch.tokens, batch.tokens)));
    }
    return Array.from({ length: batch.batch }, (_, b) => largest(sums.map((own) => -own[b]!)));
  }

  /** Logits [B, candidates] of the first `seen` tokens of each of B sequences. */
  private route(scope: Scope, inputs: Int32Array, seen: readonly number[]): Tensor {
    using inner = scope.inner();
    const batch = seen.length;
    const tokens = inputs.length / batch;
    const { width } = this.config;
    const ids = inner.track(this.device.tensor(inputs, [inputs.length]));
    const embedded = inner.track(this.hub.embed(inner, ids).reshape(inputs.length, width));
    const features = inner.empty([1, batch, width]);
    const means = inner.track(features.reshape(batch, width));
    for (const [b, count] of seen.entries()) {
      using rows = embedded.slice(b * tokens, b * tokens + count);
      using x = rows.reshape(1, count, width);
      using mean = means.slice(b);
      using y = mean.reshape(1, 1, width);
      this.device.run('sum_axis_forward', { y, x, scale: 1 / count });
    }
    const logits = ops.linear(inner, features, [this.router]);
    return scope.track(logits.reshape(batch, this.candidates.length));
  }

  /**
   * The router's logits for sequences of equal length, one row each. Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   * @param seen tokens of each sequence that count; default all
   */
  async scores(ids: ArrayLike<number>, batch = 1, seen?: readonly number[]): Promise<Float32Array[]> {
    const inputs = this.toInputs(ids, batch);
    using scope = Scope.inference(this.device);
    const all = new Array<number>(batch).fill(inputs.length / batch);
    const logits = await this.route(scope, inputs, seen ?? all).read();
    const count = this.candidates.length;
    return Array.from({ length: batch }, (_, b) => logits.slice(b * count, (b + 1) * count));
  }

  private async choose(inputs: Int32Array, batch: number, seen?: readonly number[]): Promise<DecoderModel[]> {
    return (await this.scores(inputs, batch, seen)).map((logits) => this.modelFor(logits));
  }

  override async losses(batch: Batch): Promise<Float32Array> {
    this.expectBatch(batch);
    const { inputs, targets, tokens } = batch;
    const seen = Array.from({ length: batch.batch }, (_, b) => {
      const own = targets.subarray(b * tokens, (b + 1) * tokens);
      const counts = (target: number) => target !== IGNORED;
      // Behind the last target that counts a text may be padded.
      const end = own.findLastIndex(counts) + 1 || tokens;
      return Math.min(end, Math.max(own.findIndex(counts) + 1, FEWEST_TOKENS));
    });
    const chosen = await this.choose(inputs, batch.batch, seen);
    const losses = new Float32Array(targets.length);
    for (const model of new Set(chosen)) {
      const rows = chosen.flatMap((choice, b) => (choice === model ? [b] : []));
      const [ownInputs, ownTargets] = [take(inputs, rows, tokens), take(targets, rows, tokens)];
      const found = await model.losses({ inputs: ownInputs, targets: ownTargets, batch: rows.length, tokens });
      for (const [i, b] of rows.entries()) losses.set(found.subarray(i * tokens, (i + 1) * tokens), b * tokens);
    }
    return losses;
  }

  override async logits(ids: ArrayLike<number>, batch = 1): Promise<Float32Array> {
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    this.expectLogits(inputs.length, 1);
    const logits = new Float32Array(inputs.length * this.config.vocabularySize);
    for (const [b, model] of (await this.choose(inputs, batch)).entries()) {
      const own = await model.logits(inputs.subarray(b * tokens, (b + 1) * tokens));
      logits.set(own, b * own.length);
    }
    return logits;
  }

  override createCache(batch: number, capacity: number, options: CacheOptions = {}): RoutedCache {
    this.expectAlive();
    expectCacheSize(batch, capacity);
    this.device.expectRoom(cacheBytes(this.config) * batch * capacity, `a cache for ${batch} x ${capacity} tokens`);
    return new RoutedCache(new Array<number>(batch).fill(0), capacity, this.cacheGates(options));
  }

  override async extend(cache: RoutedCache, ids: ArrayLike<number>): Promise<Float32Array> {
    const logits = new Float32Array(cache.lengths.length * this.config.vocabularySize);
    await this.forSequences(cache, ids, async (model, own, inputs, b) => {
      const next = await model.extend(own, inputs);
      logits.set(next, b * next.length);
    });
    return logits;
  }

  /** @internal */
  override async next(
    cache: RoutedCache,
    ids: ArrayLike<number>,
    draws: readonly (Draw | undefined)[],
  ): Promise<Int32Array> {
    const drawn = new Int32Array(draws.length);
    await this.forSequences(cache, ids, async (model, own, inputs, b) => {
      drawn.set(await model.next(own, inputs, [draws[b]]), b);
    });
    return drawn;
  }

  /** Appends tokens to each sequence's own cache. The first call has the prompts, which choose the models. */
  private async forSequences(
    cache: RoutedCache,
    ids: ArrayLike<number>,
    append: (model: DecoderModel, own: KeyValueCache, inputs: Int32Array, sequence: number) => Promise<void>,
  ): Promise<void> {
    cache.expectAlive();
    const batch = cache.lengths.length;
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    if (cache.sequences.includes(undefined)) {
      for (const [b, model] of (await this.choose(inputs, batch)).entries()) {
        cache.sequences[b] = cache.open(model);
      }
    }
    for (const [b, sequence] of cache.sequences.entries()) {
      const { model, cache: own } = sequence!;
      await append(model, own, inputs.subarray(b * tokens, (b + 1) * tokens), b);
      cache.lengths[b]! += tokens;
    }
    cache.gates?.follow(
      Promise.all(cache.sequences.map((own) => own!.cache.gates!.latest)).then((rows) => rows.flat()),
    );
  }

  protected override free(): void {
    this.router.dispose();
  }
}

const total = (values: Float32Array, from: number, count: number) =>
  values.subarray(from, from + count).reduce((sum, value) => sum + value, 0);

/** Where the first of the largest stands. */
export const largest = (values: readonly number[]) => values.indexOf(Math.max(...values));

/** The rows given of a matrix. */
function take(matrix: Int32Array, rows: readonly number[], width: number): Int32Array {
  const taken = new Int32Array(rows.length * width);
  for (const [i, row] of rows.entries()) taken.set(matrix.subarray(row * width, (row + 1) * width), i * width);
  return taken;
}
