import { BtsError, expectAlive } from '../../base/errors.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { CacheGates, GateLog, GateRecordOptions } from '../stitches/gate-log.js';
import type { DecodeStep } from './decode-step.js';

export interface CacheOptions {
  /** Gates are told of the tokens that are appended. */
  gates?: GateRecordOptions | undefined;
}

/** What a model remembers of sequences that grow token by token. */
export interface TokenCache extends Disposable {
  /** Most tokens of a sequence. */
  readonly capacity: number;
  /** Tokens held, for each sequence. */
  readonly lengths: number[];
  /** Where they were asked for. */
  readonly gates?: CacheGates | undefined;
  /** Puts a copy of another cache's sequence `from` in the place of sequence `to`. Throws BAD_OPTION where it does not fit. */
  copySequence(source: this, from: number, to: number): void;
  /** Gives back the memory. Twice is harmless; a cache that is used afterwards throws DISPOSED. */
  dispose(): void;
}

/**
 * Keys and values of all tokens seen so far, one pair of tensors [M, B, capacity, K, D] a layer. Sequences of a batch may
 * have different lengths.
 */
export class KeyValueCache implements TokenCache {
  #disposed = false;
  /** Keys and values of layer 0, of layer 1, and so on. */
  private readonly tensors: Tensor[] = [];
  readonly lengths: number[];
  /** @internal What one token more for every sequence takes, once it has been computed. It keeps the model's weights in memory. */
  step: { model: object; decode: DecodeStep; gates: GateLog | undefined } | undefined;
  /** @internal Where the rotation of a sequence hangs on its length: its tokens, cut or not, and the stage they are in. */
  readonly origins: ({ tokens: number[]; stage: number } | undefined)[] = [];

  /** @internal */
  constructor(
    device: Device,
    config: ModelConfig,
    members: number,
    batch: number,
    readonly capacity: number,
    readonly gates?: CacheGates,
  ) {
    const { keyValueHeads, headWidth } = config.attention;
    const shape = [members, batch, capacity, keyValueHeads, headWidth];
    expectCacheSize(batch, capacity);
    device.expectRoom(
      batch * capacity * cachedTokenBytes(device, config, members),
      `a cache for ${batch} x ${capacity} tokens`,
    );
    this.lengths = new Array<number>(batch).fill(0);
    try {
      for (let i = 0; i < 2 * config.layers; i++) this.tensors.push(device.empty(shape, device.activations));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** @internal */
  layer(index: number): { keys: Tensor; values: Tensor } {
    return { keys: this.tensors[2 * index]!, values: this.tensors[2 * index + 1]! };
  }

  /** Throws BAD_OPTION unless `tokens` more fit for every sequence, DISPOSED. */
  expectRoom(tokens: number): void {
    expectAlive(this.#disposed, 'a cache');
    const most = this.lengths.reduce((a, b) => Math.max(a, b), 0);
    if (most + tokens > this.capacity) {
      throw new BtsError(
        'BAD_OPTION',
        `the cache holds ${this.capacity} tokens a sequence; ${most} are in it and ${tokens} more came.`,
      );
    }
  }

  /** Puts a copy of another cache's sequence `from` in the place of sequence `to`. Throws BAD_OPTION where it does not fit. */
  copySequence(source: KeyValueCache, from: number, to: number): void {
    expectAlive(this.#disposed || source.#disposed, 'a cache');
    const length = source.lengths[from]!;
    if (length > this.capacity) {
      throw new BtsError(
        'BAD_OPTION',
        `the cache holds ${this.capacity} tokens a sequence; ${length} were to be copied.`,
      );
    }
    for (const [i, tensor] of this.tensors.entries()) {
      using target = rowsOf(tensor);
      using origin = rowsOf(source.tensors[i]!);
      for (let member = 0; member < tensor.shape[0]!; member++) {
        const start = (member * this.lengths.length + to) * this.capacity;
        const sourceStart = (member * source.lengths.length + from) * source.capacity;
        using y = target.slice(start, start + length);
        using x = origin.slice(sourceStart, sourceStart + length);
        tensor.device.run('convert', { y, x });
      }
    }
    this.lengths[to] = length;
    const origin = source.origins[from];
    this.origins[to] = origin && { ...origin, tokens: [...origin.tokens] };
  }

  /** @internal */
  endStep(): void {
    this.step?.decode[Symbol.dispose]();
    this.step?.gates?.[Symbol.dispose]();
    this.step = undefined;
  }

  dispose(): void {
    this.#disposed = true;
    this.endStep();
    for (const tensor of this.tensors.splice(0)) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** What a token of a sequence takes in a cache. */
export function cachedTokenBytes(device: Device, { attention, layers }: ModelConfig, members: number): number {
  const width = device.activations === 'f32' ? 4 : 2;
  return 2 * layers * members * attention.keyValueHeads * attention.headWidth * width;
}

/** Throws BAD_OPTION unless both are positive whole numbers of 32 bits. */
export function expectCacheSize(batch: number, capacity: number): void {
  for (const [name, value] of Object.entries({ batch, capacity })) {
    if (Number.isInteger(value) && value >= 1 && value < 2 ** 31) continue;
    throw new BtsError('BAD_OPTION', `a cache's ${name} is a positive whole number of 32 bits, not ${value}.`);
  }
}

/** A cache tensor [M, B, capacity, K, D] as one row a token. */
function rowsOf(tensor: Tensor): Tensor {
  const [members, batch, capacity, ...token] = tensor.shape as [number, number, number, number, number];
  return tensor.reshape(members * batch * capacity, ...token);
}
