import type { ModelConfig } from '../checkpoint/config.js';
import { BtsError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * Keys and values of all tokens seen so far, one pair of tensors [M, B, capacity, K, D] a layer. Sequences of a batch may
 * have different lengths.
 */
export class KeyValueCache implements Disposable {
  /** Keys and values of layer 0, of layer 1, and so on. */
  private readonly tensors: Tensor[] = [];
  /** Tokens held, for each sequence. */
  readonly lengths: number[];

  constructor(
    device: Device,
    config: ModelConfig,
    members: number,
    batch: number,
    readonly capacity: number,
  ) {
    this.lengths = new Array<number>(batch).fill(0);
    const shape = [members, batch, capacity, config.keyValueHeads, config.headWidth];
    try {
      for (let i = 0; i < 2 * config.layers; i++) this.tensors.push(device.empty(shape, device.activations));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  layer(index: number): { keys: Tensor; values: Tensor } {
    return { keys: this.tensors[2 * index]!, values: this.tensors[2 * index + 1]! };
  }

  /** Throws BAD_OPTION unless `tokens` more fit for every sequence. */
  expectRoom(tokens: number): void {
    const most = Math.max(...this.lengths);
    if (most + tokens > this.capacity) {
      throw new BtsError(
        'BAD_OPTION',
        `the cache holds ${this.capacity} tokens a sequence; ${most} are in it and ${tokens} more came.`,
      );
    }
  }

  [Symbol.dispose](): void {
    for (const tensor of this.tensors.splice(0)) tensor.dispose();
  }
}
