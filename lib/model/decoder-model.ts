import { type Batch, IGNORED } from '../data/packing.js';
import type { Communicator } from '../tensor/communicator.js';
import * as ops from '../tensor/ops/index.js';
import { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type BatchSize, inferenceBytes } from './cost/cost.js';
import { DecodeStep } from './decoding/decode-step.js';
import { type CacheOptions, KeyValueCache } from './decoding/key-value-cache.js';
import { locateTokens } from './decoding/locate-tokens.js';
import { type Draw, sample } from './decoding/sampler.js';
import { type Standing, uploaded } from './decoding/standing.js';
import { LanguageModel } from './language-model.js';
import {
  checkGateRecordOptions,
  type GateLayout,
  GateLog,
  type GateRecordOptions,
  type TokenGates,
} from './stitches/gate-log.js';
import type { Positions, Transformer } from './transformer/transformer.js';

/** What a forward pass is told beside its tokens. */
export interface Pass extends Positions {
  /** In training: makes the pass's random choices (dropout). Absent in evaluation. */
  seed?: number | undefined;
  /** In training: sequences of a larger batch that come before these (see Batch). */
  firstRow?: number | undefined;
  /** In training: how much of the run is done, from 0 to 1. */
  progress?: number | undefined;
  /** Where it tells its gates, if somebody asks. */
  gates?: GateLog | undefined;
}

// Evaluation computes logits for this many tokens at a time: a large vocabulary's logits would otherwise outgrow the model.
const LOGIT_ROWS = 1024;

/** A decoder whose last hidden states the head of one transformer turns into logits: a dense model, or several in one. */
export abstract class DecoderModel extends LanguageModel {
  /** @internal */
  override readonly decodesTogether = true;
  /** @internal The members; member 0 gives the logits. */
  abstract readonly transformer: Transformer;

  /** @internal Hidden states [1, N, C] of member 0 after all layers. */
  abstract hidden(scope: Scope, ids: Tensor, pass: Pass): Tensor;

  override get config() {
    return this.transformer.config;
  }

  /** Whether a step of decoding can be recorded, to be run again. */
  protected readonly recordsSteps: boolean = true;

  /** Logits of hidden states [1, N, C], or of the rows asked for. */
  protected head(scope: Scope, h: Tensor, rows?: Tensor): Tensor {
    return this.transformer.head(scope, h, rows);
  }

  /** The loss [N] of each target, given hidden states [1, N, C]. */
  protected lossesOf(scope: Scope, h: Tensor, targets: Tensor): Tensor {
    return this.transformer.losses(scope, h, targets);
  }

  override inferenceBytes(size: BatchSize): number {
    const { members } = this.transformer;
    return inferenceBytes(
      members.map(({ config }) => config),
      members.reduce((sum, { bytes }) => sum + bytes, 0),
      size,
    );
  }

  override trainingLoss(scope: Scope, batch: Batch, divisor: number, seed: number, progress = 0): Tensor {
    this.expectBatch(batch);
    using inner = scope.inner();
    const ids = inner.track(this.device.tensor(batch.inputs, [batch.inputs.length]));
    const targets = inner.track(this.device.tensor(batch.targets, [batch.targets.length]));
    const { tokens, firstRow } = batch;
    const h = this.hidden(inner, ids, { batch: batch.batch, tokens, firstRow, seed, progress });
    const losses = this.transformer.losses(inner, h, targets);
    return inner.leave(ops.sum(inner, losses, 1 / divisor));
  }

  override async losses(batch: Batch): Promise<Float32Array> {
    this.expectBatch(batch);
    this.expectPass(batch);
    using scope = Scope.inference(this.device);
    const ids = scope.track(this.device.tensor(batch.inputs, [batch.inputs.length]));
    return await this.targetLosses(scope, this.hidden(scope, ids, batch), batch.targets);
  }

  override async logits(ids: ArrayLike<number>, batch = 1): Promise<Float32Array> {
    const inputs = this.toInputs(ids, batch);
    this.expectPass({ batch, tokens: inputs.length / batch });
    this.expectLogits(inputs.length, 2);
    using scope = Scope.inference(this.device);
    const tensor = scope.track(this.device.tensor(inputs, [inputs.length]));
    const h = this.hidden(scope, tensor, { batch, tokens: inputs.length / batch });
    return await this.head(scope, h).read();
  }

  override createCache(batch: number, capacity: number, options: CacheOptions = {}): KeyValueCache {
    this.expectAlive();
    const members = this.transformer.members.length;
    const { pool } = options;
    return new KeyValueCache(this.device, this.config, members, batch, capacity, {
      gates: this.cacheGates(options),
      pool,
    });
  }

  /** @internal What its gates are; undefined where it has none. */
  protected get gateLayout(): GateLayout | undefined {
    return undefined;
  }

  /** @internal Of the ranks that have the gates which this one has not. */
  protected get gateRanks(): Communicator | undefined {
    return undefined;
  }

  /** @internal What takes the gates of a pass over so many rows. Throws BAD_OPTION. */
  gateLog(rows: number, options: GateRecordOptions): GateLog {
    this.expectGates();
    return new GateLog(this.device, this.gateLayout!, rows, options, this.gateRanks);
  }

  /** What a pass over `batch` sequences of equal length tells of gates, by row. */
  protected async gatesOf(ids: ArrayLike<number>, batch: number, options: GateRecordOptions): Promise<TokenGates[]> {
    checkGateRecordOptions('gates', options);
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    this.expectPass({ batch, tokens });
    using gates = this.gateLog(inputs.length, options);
    using scope = Scope.inference(this.device);
    const tensor = scope.track(this.device.tensor(inputs, [inputs.length]));
    this.hidden(scope, tensor, { batch, tokens, gates });
    return await gates.read();
  }

  override async extend(cache: KeyValueCache, ids: ArrayLike<number>): Promise<Float32Array> {
    using scope = Scope.inference(this.device);
    return await this.advance(scope, cache, ids).logits.read();
  }

  /** @internal */
  override async next(
    cache: KeyValueCache,
    ids: ArrayLike<number>,
    draws: readonly (Draw | undefined)[],
  ): Promise<Int32Array> {
    using scope = Scope.inference(this.device);
    return await sample(this.advance(scope, cache, ids).logits, draws);
  }

  /** @internal `extend`, and the loss of each token given those before it in this call, [B * T]: 0 for the first of each. */
  async extendWithLosses(
    cache: KeyValueCache,
    ids: ArrayLike<number>,
  ): Promise<{ logits: Float32Array; losses: Float32Array }> {
    using scope = Scope.inference(this.device);
    const { inputs, tokens, h, logits } = this.advance(scope, cache, ids);
    const read = logits.read();
    const losses = new Float32Array(inputs.length);
    if (h) {
      // Each place predicts the next one's token.
      const targets = inputs.map((_, i) => ((i + 1) % tokens === 0 ? IGNORED : inputs[i + 1]!));
      losses.set((await this.targetLosses(scope, h, targets)).subarray(0, -1), 1);
    }
    return { logits: await read, losses };
  }

  /**
   * Appends tokens to a cache: logits [B, V] of the last of each sequence, which end with the scope or with the cache's next
   * token; where there are several tokens, also all hidden states h [1, B * T, C].
   */
  private advance(scope: Scope, cache: KeyValueCache, ids: ArrayLike<number>) {
    const batch = cache.lengths.length;
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    cache.expectRoom(tokens);
    const added = cache.lengths.map((_, b) => inputs.subarray(b * tokens, (b + 1) * tokens));
    const stand = locateTokens(this, cache, added);
    const { h, logits } =
      tokens === 1 && this.recordsSteps
        ? { h: undefined, logits: this.nextLogits(cache, inputs, stand) }
        : this.prefill(scope, cache, inputs, stand);
    for (let b = 0; b < batch; b++) cache.lengths[b]! += tokens;
    return { inputs, tokens, h, logits };
  }

  private prefill(scope: Scope, cache: KeyValueCache, ids: Int32Array, stand: Standing<Int32Array>) {
    const batch = stand.starts.length;
    const tokens = ids.length / batch;
    this.expectPass({ batch, tokens });
    const last = Int32Array.from({ length: batch }, (_, b) => (b + 1) * tokens - 1);
    const integers = (values: Int32Array) => scope.track(this.device.tensor(values, [values.length]));
    using gates = cache.gates && this.gateLog(ids.length, cache.gates.options);
    const h = this.hidden(scope, integers(ids), { batch, tokens, cache, gates, ...uploaded(scope, stand) });
    cache.gates?.follow(gates!.read());
    return { h, logits: this.head(scope, h, integers(last)) };
  }

  /** The logits that follow one token more for each sequence. They are the cache's. */
  private nextLogits(cache: KeyValueCache, ids: Int32Array, stand: Standing<Int32Array>): Tensor {
    if (cache.step?.model === this) {
      cache.step.decode.run(ids, stand);
      cache.gates?.follow(cache.step.gates!.read());
      return cache.step.decode.logits;
    }
    cache.endStep();
    const gates = cache.gates && this.gateLog(ids.length, cache.gates.options);
    const pass = { batch: ids.length, tokens: 1, cache, gates };
    try {
      const decode = DecodeStep.record(this.device, ids, stand, (scope, ids, stand) =>
        this.head(scope, this.hidden(scope, ids, { ...pass, ...stand })),
      );
      cache.step = { model: this, decode, gates };
    } catch (error) {
      gates?.[Symbol.dispose]();
      throw error;
    }
    cache.gates?.follow(gates!.read());
    return cache.step.decode.logits;
  }

  /** The loss of each target given hidden states [1, N, C]. */
  private async targetLosses(scope: Scope, h: Tensor, targets: Int32Array): Promise<Float32Array> {
    const [, rows, width] = h.shape as [number, number, number];
    const flat = scope.track(h.reshape(rows, width));
    const all = scope.track(this.device.tensor(targets, [rows]));
    const parts: Promise<Float32Array>[] = [];
    for (let first = 0; first < rows; first += LOGIT_ROWS) {
      const last = Math.min(rows, first + LOGIT_ROWS);
      using part = scope.inner();
      const slice = part.track(flat.slice(first, last));
      const states = part.track(slice.reshape(1, ...slice.shape));
      parts.push(this.lossesOf(part, states, part.track(all.slice(first, last))).read());
    }
    const losses = new Float32Array(rows);
    let at = 0;
    for (const part of await Promise.all(parts)) {
      losses.set(part, at);
      at += part.length;
    }
    return losses;
  }

  protected override free(): void {
    this.transformer[Symbol.dispose]();
  }
}
