import { BtsError, expectAlive } from '../base/errors.js';
import type { HashOptions } from '../base/file-hash.js';
import { expectMemory } from '../base/memory.js';
import type { ModelConfig } from '../checkpoint/config.js';
import { type Batch, IGNORED } from '../data/packing.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Device } from '../tensor/device.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { BatchSize } from './cost/cost.js';
import { generate, type Prompt } from './decoding/generate.js';
import type { GeneratedToken } from './decoding/generation.js';
import type { CacheOptions, TokenCache } from './decoding/key-value-cache.js';
import type { GenerateOptions } from './decoding/options.js';
import { type Draw, sample } from './decoding/sampler.js';
import type { SpreadModel } from './spread-weights.js';
import { CacheGates, checkGateRecordOptions } from './stitches/gate-log.js';
import type { QuantizeOptions } from './transformer/quantization.js';

export interface LoadModelOptions extends HashOptions, QuantizeOptions {
  /** Makes what its training changed trainable again; default: frozen. */
  trainable?: boolean;
}

/** A model that gives each token's successor a distribution: a dense one, or several stitched into one. */
export abstract class LanguageModel implements Disposable {
  #disposed = false;

  constructor(
    /** What it computes on. */
    readonly device: Device,
    /** Absent where the checkpoint has none; text in and out then throws BAD_TOKENIZER. */
    protected readonly maybeTokenizer: Tokenizer | undefined,
  ) {}

  /** The shape of what is generated with: of a model of several, the first one's. */
  abstract readonly config: ModelConfig;
  /** @internal Whether a step computes the sequences of a cache together. Else they are generated one after another. */
  readonly decodesTogether: boolean = false;
  /** Whether it has stitches, so that it can tell gates. */
  readonly hasGates: boolean = false;
  /** What a training run changes. */
  abstract readonly trainable: readonly Parameter[];
  /** @internal Of a model that lies on several ranks, which then call the same. */
  readonly spread?: SpreadModel;

  /** Writes the model into a new, empty folder. */
  abstract write(folder: string): Promise<void>;

  /** Of text in and out. Throws BAD_TOKENIZER where the checkpoint has none. */
  get tokenizer(): Tokenizer {
    if (this.maybeTokenizer) return this.maybeTokenizer;
    throw new BtsError('BAD_TOKENIZER', 'the model has no tokenizer: its folder lacks tokenizer.json. Pass token ids.');
  }

  /** Whether a conversation can be put to it without naming a template. */
  get hasChatTemplate(): boolean {
    return this.maybeTokenizer?.hasChatTemplate ?? false;
  }

  /** Tokens at which generation ends: those of the configuration, and the tokenizer's end of text. */
  get stopTokens(): readonly number[] {
    return [...new Set([...this.config.eosTokens, ...(this.maybeTokenizer?.stopTokens ?? [])])];
  }

  /**
   * The loss of a batch as a tensor in a recording scope: summed over the targets that count, divided by `divisor`. The seed
   * makes the step's random choices; `progress`, from 0 to 1, is how much of the run is done. Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param divisor what the sum of losses is divided by: targets of the whole update
   * @param seed of random choices
   * @param progress how much of the run is done, from 0 to 1
   */
  abstract trainingLoss(
    scope: Scope,
    batch: Batch,
    divisor: number,
    seed: number,
    progress?: number,
  ): Tensor | Promise<Tensor>;

  /** The loss of every target, [B*T], 0 where it is ignored. Throws BAD_TOKEN, BAD_OPTION. */
  abstract losses(batch: Batch): Promise<Float32Array>;

  /**
   * Logits [B * T * V], row by row, of `batch` sequences of equal length. Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   * @param batch B, sequences of equal length; default 1
   */
  abstract logits(ids: ArrayLike<number>, batch?: number): Promise<Float32Array>;

  /**
   * An empty cache for `batch` sequences of at most `capacity` tokens, which the caller disposes. Throws BAD_OPTION where it
   * is to tell gates, and the model has none.
   *
   * @param batch B, sequences
   * @param capacity tokens of a sequence, at most
   */
  abstract createCache(batch: number, capacity: number, options?: CacheOptions): TokenCache;

  /**
   * Appends tokens [B * T] to a cache of this model and returns the logits [B * V] of the last of each sequence.
   * Throws BAD_TOKEN, BAD_OPTION.
   *
   * @param ids token ids [B * T], row by row
   */
  abstract extend(cache: TokenCache, ids: ArrayLike<number>): Promise<Float32Array>;

  /**
   * @internal Appends tokens [B * T] to a cache of this model and draws the next token of each sequence; where `draws` has a hole, any
   * token. Throws BAD_TOKEN, BAD_OPTION, LOSS_NOT_FINITE.
   */
  async next(cache: TokenCache, ids: ArrayLike<number>, draws: readonly (Draw | undefined)[]): Promise<Int32Array> {
    const logits = await this.extend(cache, ids);
    using rows = this.device.tensor(logits, [draws.length, this.config.vocabularySize]);
    return await sample(rows, draws);
  }

  /** Bytes that a pass over a batch takes, about, weights included; 0 where it is not known. */
  inferenceBytes(_size: BatchSize): number {
    return 0;
  }

  /** The same of a step that trains what is trainable. */
  trainingBytes(_size: BatchSize): number {
    return 0;
  }

  /** The mean loss of a batch in nats per token. */
  async loss(batch: Batch): Promise<number> {
    const losses = await this.losses(batch);
    const count = batch.targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
    return losses.reduce((sum, loss) => sum + loss, 0) / count;
  }

  /**
   * Continues a text or token ids, or answers a conversation, token by token:
   * `for await (const { text } of model.generate('Once'))`, `model.generate([{ role: 'user', content: 'Hello' }])`. Of several
   * prompts, each token has the `index` of its own. Throws BAD_OPTION, BAD_TOKEN, BAD_TOKENIZER, LOSS_NOT_FINITE, ABORTED, DISPOSED.
   *
   * @param prompts a text, token ids or a conversation, or several of these
   */
  generate(prompts: Prompt | readonly Prompt[], options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void> {
    return generate(this, prompts, options);
  }

  /** Gives back the memory of all weights. Twice is harmless; a model that is used afterwards throws DISPOSED. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.free();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Disposes what the model owns; called once. */
  protected abstract free(): void;

  /** Throws DISPOSED. */
  protected expectAlive(): void {
    expectAlive(this.#disposed, 'a model');
  }

  /** Throws BAD_OPTION where the model has no gates. */
  protected expectGates(): void {
    if (this.hasGates) return;
    throw new BtsError('BAD_OPTION', 'the model has no gates: only stitched models have. Ask without them.');
  }

  /** What a cache tells of gates. Throws BAD_OPTION. */
  protected cacheGates({ gates }: CacheOptions): CacheGates | undefined {
    if (!gates) return undefined;
    this.expectGates();
    return new CacheGates(checkGateRecordOptions('createCache: gates', gates));
  }

  /** Ids as the device takes them. Throws BAD_TOKEN, and BAD_OPTION unless they are `batch` sequences of equal length. */
  protected toInputs(ids: ArrayLike<number>, batch: number): Int32Array {
    this.expectAlive();
    const inputs = Int32Array.from(ids);
    // The conversion cuts fractions off and wraps what is too large.
    const at = inputs.findIndex((id, i) => id !== ids[i]);
    if (at >= 0)
      throw new BtsError('BAD_TOKEN', `token id ${ids[at]} at place ${at} is not a whole number of 32 bits.`);
    this.expectTokens(inputs, { batch, tokens: inputs.length / batch });
    return inputs;
  }

  /** Throws BAD_OPTION for sequences longer than the model takes, OUT_OF_MEMORY for more of them than memory can hold. */
  expectPass(size: BatchSize): void {
    this.expectPositions(size.tokens);
    this.device.expectRoom(this.inferenceBytes(size), `computing ${size.batch} x ${size.tokens} tokens`);
  }

  private expectPositions(tokens: number): void {
    const { maxPositions } = this.config;
    if (tokens <= maxPositions) return;
    throw new BtsError(
      'BAD_OPTION',
      `${tokens} tokens came, the model takes at most ${maxPositions} (max_position_embeddings).`,
    );
  }

  /** Throws OUT_OF_MEMORY where the host cannot hold the logits of so many tokens, as often as is needed. */
  protected expectLogits(tokens: number, copies: number): void {
    const bytes = copies * Float32Array.BYTES_PER_ELEMENT * tokens * this.config.vocabularySize;
    expectMemory(bytes, `holding the logits of ${tokens} tokens`);
  }

  protected expectBatch(batch: Batch): void {
    this.expectAlive();
    this.expectTokens(batch.inputs, batch);
    this.expectTokens(batch.targets, batch, IGNORED);
  }

  /** Throws BAD_TOKEN for ids outside lowest..V-1, BAD_OPTION for a shape that does not fit. */
  protected expectTokens(ids: Int32Array, { batch, tokens }: { batch: number; tokens: number }, lowest = 0): void {
    const { vocabularySize } = this.config;
    if (!Number.isInteger(tokens) || tokens < 1 || ids.length !== batch * tokens) {
      throw new BtsError(
        'BAD_OPTION',
        `${ids.length} token ids came for ${batch} sequences of equal length, one at least.`,
      );
    }
    this.expectPositions(tokens);
    const at = ids.findIndex((id) => id < lowest || id >= vocabularySize);
    if (at >= 0) {
      const token = this.maybeTokenizer?.idToToken(ids[at]!);
      const spelled = token == null ? '' : ` (${JSON.stringify(token)})`;
      const advice =
        token == null
          ? 'was the text encoded with another tokenizer?'
          : 'it was added to the tokenizer without a row in the embedding. Leave it out of the text.';
      throw new BtsError(
        'BAD_TOKEN',
        `token id ${ids[at]}${spelled} at place ${at} lies outside the vocabulary of ${vocabularySize}: ${advice}`,
      );
    }
  }
}
