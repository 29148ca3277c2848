import { join } from 'node:path';
import { type ReferringManifest, readBaseline, writeBaseline } from '../../checkpoint/baseline-manifest.js';
import { readSafetensors } from '../../checkpoint/safetensors.js';
import { writeSafetensors } from '../../checkpoint/safetensors-writer.js';
import { type Batch, IGNORED } from '../../data/packing.js';
import { Random } from '../../data/random.js';
import type { Device } from '../../tensor/device.js';
import { combineRows } from '../../tensor/mixture-ops.js';
import * as ops from '../../tensor/ops.js';
import { Parameter } from '../../tensor/parameter.js';
import { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { DenseModel } from '../dense-model.js';
import type { KeyValueCache, TokenCache } from '../key-value-cache.js';
import type { Family } from '../member-files.js';
import { copyTokenizer, tensorSource } from '../save.js';
import { loadParameter } from '../stored-parameter.js';
import { describeMembers, loadMembers, SeveralModels } from './several-models.js';

const WEIGHTS = 'router.safetensors';
const ROUTER = 'router.weight';
/** How many of a sequence's first tokens the router sees in training. */
const FEWEST_TOKENS = 32;
const MOST_TOKENS = 256;

/** Each sequence's own cache in the model that it was given to. */
class RoutedCache implements TokenCache {
  readonly sequences: ({ model: DenseModel; cache: KeyValueCache } | undefined)[];

  constructor(
    readonly lengths: number[],
    readonly capacity: number,
  ) {
    this.sequences = lengths.map(() => undefined);
  }

  [Symbol.dispose](): void {
    for (const sequence of this.sequences) sequence?.cache[Symbol.dispose]();
  }
}

/**
 * Expert Routing: a linear router on the mean of the hub's embeddings of a sequence's first tokens gives the whole sequence
 * to one model. It is trained to choose the model with the lowest loss on the sequence, seeing 32 to 256 tokens; afterwards
 * it sees the whole prompt. What counts as the prompt of a text that is scored is what stands before the first target that
 * counts, or 32 tokens where that is less.
 */
export class RoutedModel extends SeveralModels {
  readonly trainable: readonly Parameter[];

  private constructor(
    device: Device,
    { models, tokenizer }: Awaited<ReturnType<typeof loadMembers>>,
    manifest: ReferringManifest,
    private readonly router: Parameter,
  ) {
    super(device, models, manifest, tokenizer);
    this.trainable = router.gradient ? [router] : [];
  }

  /** A router to be trained, indifferent at first. Throws MEMBERS_DIFFER and whatever loading a checkpoint throws. */
  static async create(device: Device, options: Family): Promise<RoutedModel> {
    const manifest = { system: 'routing', members: await describeMembers(options) } as const;
    const members = await loadMembers(device, manifest, options.signal);
    const { width } = members.models[0]!.config;
    const value = device.full([members.models.length, width], 0);
    return new RoutedModel(device, members, manifest, Parameter.trainable(device, ROUTER, value));
  }

  /** Throws BAD_STITCH, MEMBER_CHANGED and whatever loading a checkpoint throws. */
  static async load(
    device: Device,
    folder: string,
    { trainable = false, signal }: { trainable?: boolean; signal?: AbortSignal | undefined } = {},
  ): Promise<RoutedModel> {
    const manifest = (await readBaseline(folder)) as ReferringManifest;
    const { tensors } = await readSafetensors(join(folder, WEIGHTS));
    const members = await loadMembers(device, manifest, signal);
    try {
      const shape = [members.models.length, members.models[0]!.config.width];
      const router = loadParameter(device, { tensors, trainable }, ROUTER, shape);
      await router.value.settled();
      return new RoutedModel(device, members, manifest, router);
    } catch (error) {
      for (const model of members.models) model[Symbol.dispose]();
      throw error;
    }
  }

  /** The router's cross-entropy against the best model of each sequence, a sequence weighing as much as its tokens. */
  override async trainingLoss(scope: Scope, batch: Batch, divisor: number, seed: number): Promise<Tensor> {
    this.expectBatch(batch);
    const best = await this.bestModels(batch);
    const most = Math.min(MOST_TOKENS, batch.tokens);
    const fewest = Math.min(FEWEST_TOKENS, most);
    const random = new Random(seed, 'router');
    const seen = best.map(() => fewest + random.below(most - fewest + 1));
    using inner = scope.inner();
    const logits = this.route(inner, batch.inputs, batch.batch, seen);
    const targets = inner.track(this.device.tensor(Int32Array.from(best), [batch.batch]));
    const losses = ops.crossEntropy(inner, logits, targets);
    return inner.leave(ops.sum(inner, losses, batch.tokens / divisor));
  }

  /** For each sequence the model with the lowest loss. */
  private async bestModels(batch: Batch): Promise<number[]> {
    const sums: number[][] = [];
    for (const model of this.models) {
      const losses = await model.losses(batch);
      sums.push(Array.from({ length: batch.batch }, (_, b) => total(losses, b * batch.tokens, batch.tokens)));
    }
    return Array.from({ length: batch.batch }, (_, b) => argmax(sums.map((own) => -own[b]!)));
  }

  /** Logits [B, M] of the first `seen` tokens of each sequence. */
  private route(scope: Scope, inputs: Int32Array, batch: number, seen: readonly number[]): Tensor {
    using inner = scope.inner();
    const tokens = inputs.length / batch;
    const mean = new Float32Array(batch * inputs.length);
    for (const [b, count] of seen.entries()) {
      const first = b * inputs.length + b * tokens;
      mean.fill(1 / count, first, first + count);
    }
    const ids = inner.track(this.device.tensor(inputs, [inputs.length]));
    const embedded = this.models[0]!.transformer.embed(inner, ids);
    const rows = inner.track(embedded.reshape(inputs.length, this.config.width));
    const weights = inner.track(this.device.tensor(mean, [batch, inputs.length]));
    const features = inner.track(combineRows(inner, rows, weights).reshape(1, batch, this.config.width));
    const logits = ops.linear(inner, features, [this.router]);
    return scope.track(logits.reshape(batch, this.models.length));
  }

  /** Which model each sequence goes to. Throws BAD_TOKEN, BAD_OPTION. */
  async choose(ids: ArrayLike<number>, batch = 1, seen?: readonly number[]): Promise<number[]> {
    const inputs = this.toInputs(ids, batch);
    using scope = Scope.inference(this.device);
    const all = new Array<number>(batch).fill(inputs.length / batch);
    const logits = await this.route(scope, inputs, batch, seen ?? all).read();
    const M = this.models.length;
    return Array.from({ length: batch }, (_, b) => argmax([...logits.subarray(b * M, (b + 1) * M)]));
  }

  override async losses(batch: Batch): Promise<Float32Array> {
    this.expectBatch(batch);
    const { inputs, targets, tokens } = batch;
    const seen = Array.from({ length: batch.batch }, (_, b) => {
      const first = targets.subarray(b * tokens, (b + 1) * tokens).findIndex((target) => target !== IGNORED);
      return Math.min(tokens, Math.max(first + 1, FEWEST_TOKENS));
    });
    const chosen = await this.choose(inputs, batch.batch, seen);
    const losses = new Float32Array(targets.length);
    for (const [m, model] of this.models.entries()) {
      const rows = chosen.flatMap((choice, b) => (choice === m ? [b] : []));
      if (rows.length === 0) continue;
      const own = {
        inputs: take(inputs, rows, tokens),
        targets: take(targets, rows, tokens),
        batch: rows.length,
        tokens,
      };
      const found = await model.losses(own);
      for (const [i, b] of rows.entries()) losses.set(found.subarray(i * tokens, (i + 1) * tokens), b * tokens);
    }
    return losses;
  }

  override async logits(ids: ArrayLike<number>, batch = 1): Promise<Float32Array> {
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    const logits = new Float32Array(inputs.length * this.config.vocabularySize);
    for (const [b, choice] of (await this.choose(inputs, batch)).entries()) {
      const own = await this.models[choice]!.logits(inputs.subarray(b * tokens, (b + 1) * tokens));
      logits.set(own, b * own.length);
    }
    return logits;
  }

  override createCache(batch: number, capacity: number): RoutedCache {
    return new RoutedCache(new Array<number>(batch).fill(0), capacity);
  }

  /** The first call has the prompts, which choose the models. */
  override async extend(cache: RoutedCache, ids: ArrayLike<number>): Promise<Float32Array> {
    const batch = cache.lengths.length;
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    if (cache.sequences.includes(undefined)) {
      for (const [b, choice] of (await this.choose(inputs, batch)).entries()) {
        const model = this.models[choice]!;
        cache.sequences[b] = { model, cache: model.createCache(1, cache.capacity) };
      }
    }
    const logits = new Float32Array(batch * this.config.vocabularySize);
    for (const [b, sequence] of cache.sequences.entries()) {
      const { model, cache: own } = sequence!;
      const next = await model.extend(own, inputs.subarray(b * tokens, (b + 1) * tokens));
      logits.set(next, b * next.length);
      cache.lengths[b]! += tokens;
    }
    return logits;
  }

  override async write(folder: string): Promise<void> {
    await writeBaseline(folder, this.manifest);
    await writeSafetensors(join(folder, WEIGHTS), [tensorSource(this.router)]);
    await copyTokenizer(this.manifest.members[0]!.path, folder);
  }

  override [Symbol.dispose](): void {
    this.router[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

const total = (values: Float32Array, from: number, count: number) =>
  values.subarray(from, from + count).reduce((sum, value) => sum + value, 0);

/** The first of the largest. */
const argmax = (values: readonly number[]) => values.indexOf(Math.max(...values));

/** The rows given of a matrix. */
function take(matrix: Int32Array, rows: readonly number[], width: number): Int32Array {
  const taken = new Int32Array(rows.length * width);
  for (const [i, row] of rows.entries()) taken.set(matrix.subarray(row * width, (row + 1) * width), i * width);
  return taken;
}
