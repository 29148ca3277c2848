import type { ModelConfig } from '../checkpoint/config.js';
import { type Batch, IGNORED } from '../data/packing.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { BtsError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import * as ops from '../tensor/ops.js';
import type { Parameter } from '../tensor/parameter.js';
import { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { type GeneratedToken, type GenerateOptions, generate } from './generate.js';
import { KeyValueCache } from './key-value-cache.js';
import type { Positions, Transformer } from './transformer.js';

/** What a forward pass is told beside its tokens. */
export interface Pass extends Positions {
  /** In training: makes the pass's random choices (dropout). Absent in evaluation. */
  seed?: number | undefined;
}

// Evaluation computes logits for this many tokens at a time: a large vocabulary's logits would otherwise outgrow the model.
const LOGIT_ROWS = 1024;

/** A model that gives each token's successor a distribution: a dense one, or several stitched into one. */
export abstract class LanguageModel implements Disposable {
  constructor(
    readonly device: Device,
    /** Absent where the checkpoint has none; text in and out then throws BAD_TOKENIZER. */
    private readonly maybeTokenizer: Tokenizer | undefined,
  ) {}

  /** The members; member 0 gives the logits. */
  abstract readonly transformer: Transformer;
  /** What a training run changes. */
  abstract readonly trainable: readonly Parameter[];

  /** Hidden states [1, N, C] of member 0 after all layers. */
  abstract hidden(scope: Scope, ids: Tensor, pass: Pass): Tensor;

  /** Writes the model into a new, empty folder. */
  abstract write(folder: string): Promise<void>;

  get config(): ModelConfig {
    return this.transformer.config;
  }

  get tokenizer(): Tokenizer {
    if (this.maybeTokenizer) return this.maybeTokenizer;
    throw new BtsError('BAD_TOKENIZER', 'the model has no tokenizer: its folder lacks tokenizer.json. Pass token ids.');
  }

  /** Tokens at which generation ends. */
  get stopTokens(): readonly number[] {
    const { eosTokens } = this.config;
    return eosTokens.length > 0 ? eosTokens : (this.maybeTokenizer?.stopTokens ?? []);
  }

  /**
   * The loss of a batch as a tensor in a recording scope: summed over the targets that count, divided by `divisor`.
   * Throws BAD_TOKEN, BAD_OPTION.
   */
  trainingLoss(scope: Scope, batch: Batch, divisor: number, seed: number): Tensor {
    this.expectTokens(batch.inputs, batch);
    this.expectTokens(batch.targets, batch, IGNORED);
    using inner = scope.inner();
    const ids = inner.track(this.device.tensor(batch.inputs, [batch.inputs.length]));
    const targets = inner.track(this.device.tensor(batch.targets, [batch.targets.length]));
    const h = this.hidden(inner, ids, { batch: batch.batch, tokens: batch.tokens, seed });
    const logits = this.transformer.head(inner, h);
    const losses = ops.crossEntropy(inner, logits, targets);
    return inner.leave(ops.sum(inner, losses, 1 / divisor));
  }

  /** The loss of every target, [B*T], 0 where it is ignored. Throws BAD_TOKEN, BAD_OPTION. */
  async losses(batch: Batch): Promise<Float32Array> {
    this.expectTokens(batch.inputs, batch);
    this.expectTokens(batch.targets, batch, IGNORED);
    using scope = Scope.inference(this.device);
    const rows = batch.inputs.length;
    const ids = scope.track(this.device.tensor(batch.inputs, [rows]));
    const targets = scope.track(this.device.tensor(batch.targets, [rows]));
    const h = this.hidden(scope, ids, batch);
    const flat = scope.track(h.reshape(rows, h.shape[2]!));
    const parts: Promise<Float32Array>[] = [];
    for (let first = 0; first < rows; first += LOGIT_ROWS) {
      const last = Math.min(rows, first + LOGIT_ROWS);
      using part = scope.inner();
      const slice = part.track(flat.slice(first, last));
      const logits = this.transformer.head(part, part.track(slice.reshape(1, ...slice.shape)));
      parts.push(ops.crossEntropy(part, logits, part.track(targets.slice(first, last))).read());
    }
    const losses = new Float32Array(rows);
    let at = 0;
    for (const part of await Promise.all(parts)) {
      losses.set(part, at);
      at += part.length;
    }
    return losses;
  }

  /** The mean loss of a batch in nats per token. */
  async loss(batch: Batch): Promise<number> {
    const losses = await this.losses(batch);
    const count = batch.targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
    return losses.reduce((sum, loss) => sum + loss, 0) / count;
  }

  /** Logits [B * T * V], row by row, of `batch` sequences of equal length. Throws BAD_TOKEN, BAD_OPTION. */
  async logits(ids: ArrayLike<number>, batch = 1): Promise<Float32Array> {
    const inputs = this.toInputs(ids, batch);
    using scope = Scope.inference(this.device);
    const tensor = scope.track(this.device.tensor(inputs, [inputs.length]));
    const h = this.hidden(scope, tensor, { batch, tokens: inputs.length / batch });
    return await this.transformer.head(scope, h).read();
  }

  /** An empty cache for `batch` sequences of at most `capacity` tokens. */
  createCache(batch: number, capacity: number): KeyValueCache {
    return new KeyValueCache(this.device, this.config, this.transformer.members.length, batch, capacity);
  }

  /**
   * Appends tokens [B * T] to a cache and returns the logits [B * V] of the last of each sequence.
   * Throws BAD_TOKEN, BAD_OPTION.
   */
  async extend(cache: KeyValueCache, ids: ArrayLike<number>): Promise<Float32Array> {
    const batch = cache.lengths.length;
    const inputs = this.toInputs(ids, batch);
    const tokens = inputs.length / batch;
    cache.expectRoom(tokens);
    using scope = Scope.inference(this.device);
    const starts = scope.track(this.device.tensor(Int32Array.from(cache.lengths), [batch]));
    const last = Int32Array.from({ length: batch }, (_, b) => (b + 1) * tokens - 1);
    const idTensor = scope.track(this.device.tensor(inputs, [inputs.length]));
    const h = this.hidden(scope, idTensor, { batch, tokens, cache, starts });
    const logits = this.transformer.head(scope, h, scope.track(this.device.tensor(last, [batch])));
    const read = logits.read();
    for (let b = 0; b < batch; b++) cache.lengths[b]! += tokens;
    return await read;
  }

  /** Continues a text or token ids, token by token: `for await (const { text } of model.generate('Once'))`. */
  generate(prompt: string | readonly number[], options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void> {
    return generate(this, prompt, options);
  }

  [Symbol.dispose](): void {
    this.transformer[Symbol.dispose]();
  }

  /** Ids as the device takes them. Throws BAD_TOKEN, and BAD_OPTION unless they are `batch` sequences of equal length. */
  protected toInputs(ids: ArrayLike<number>, batch: number): Int32Array {
    const inputs = Int32Array.from(ids);
    // The conversion cuts fractions off and wraps what is too large.
    const at = inputs.findIndex((id, i) => id !== ids[i]);
    if (at >= 0)
      throw new BtsError('BAD_TOKEN', `token id ${ids[at]} at place ${at} is not a whole number of 32 bits.`);
    this.expectTokens(inputs, { batch, tokens: inputs.length / batch });
    return inputs;
  }

  /** Throws BAD_TOKEN for ids outside lowest..V-1, BAD_OPTION for a shape that does not fit. */
  private expectTokens(ids: Int32Array, { batch, tokens }: { batch: number; tokens: number }, lowest = 0): void {
    const { vocabularySize, maxPositions } = this.config;
    if (!Number.isInteger(tokens) || tokens < 1 || ids.length !== batch * tokens) {
      throw new BtsError(
        'BAD_OPTION',
        `${ids.length} token ids came for ${batch} sequences of equal length, one at least.`,
      );
    }
    if (tokens > maxPositions) {
      throw new BtsError(
        'BAD_OPTION',
        `${tokens} tokens came, the model takes at most ${maxPositions} (max_position_embeddings).`,
      );
    }
    const at = ids.findIndex((id) => id < lowest || id >= vocabularySize);
    if (at >= 0) {
      throw new BtsError(
        'BAD_TOKEN',
        `token id ${ids[at]} at place ${at} lies outside the vocabulary of ${vocabularySize}: ` +
          'was the text encoded with another tokenizer?',
      );
    }
  }
}
