import { BtsError } from '../base/errors.js';
import { isQuantized } from './addon.js';
import type { Device } from './device.js';
import type { Tensor } from './tensor.js';

/** What an adapter adds to a frozen matrix W [O, I]: `scale * B A`. */
export interface LowRank {
  /** A [R, I]. */
  down: Parameter;
  /** B [O, R]. */
  up: Parameter;
  /** Alpha by the rank, or by its root. */
  scale: number;
}

/**
 * A named weight. It is trainable iff it has a gradient; trainable weights are f32, frozen ones what their file holds, or quantized.
 * What an adapter adds is trained on its own.
 */
export class Parameter implements Disposable {
  constructor(
    /** As its file has it, or as the family names it. */
    readonly name: string,
    /** In the precision of its file; f32 where it is trained. */
    readonly value: Tensor,
    /** Of the same shape, f32; absent where it is frozen. */
    readonly gradient?: Tensor,
    /** Added to `value` wherever it is multiplied with; it is disposed with it. */
    readonly adapter?: LowRank,
  ) {}

  /** A trainable parameter over `value`, which it takes over. Throws BAD_OPTION for a matrix in 8 or 4 bits. */
  static trainable(device: Device, name: string, value: Tensor): Parameter {
    try {
      if (isQuantized(value.dtype))
        throw new BtsError('BAD_OPTION', `${name} is held in ${value.dtype}: what is trained is f32.`);
      return new Parameter(name, value, device.full(value.shape, 0));
    } catch (error) {
      value.dispose();
      throw error;
    }
  }

  /**
   * Rows first..last-1 of it and of its gradient, without copying: training them trains it.
   *
   * @param first the first of them
   * @param last the one behind the last
   */
  slice(first: number, last: number): Parameter {
    const adapter = this.adapter && {
      ...this.adapter,
      down: this.adapter.down.share(),
      up: this.adapter.up.slice(first, last),
    };
    return new Parameter(this.name, this.value.slice(first, last), this.gradient?.slice(first, last), adapter);
  }

  private share(): Parameter {
    return this.reshape(...this.value.shape);
  }

  /** The same in another shape, without copying. What an adapter adds is left out. */
  reshape(...shape: number[]): Parameter {
    return new Parameter(this.name, this.value.reshape(...shape), this.gradient?.reshape(...shape));
  }

  /** Waits until its contents are there. Throws the error of what failed to bring them. */
  async settled(): Promise<void> {
    await this.value.settled();
    await this.adapter?.down.settled();
    await this.adapter?.up.settled();
  }

  /** Gives back its memory. Twice is harmless. */
  dispose(): void {
    this.value.dispose();
    this.gradient?.dispose();
    this.adapter?.down.dispose();
    this.adapter?.up.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** True if gradients are wanted for these weights, which stand in one op and are all trained or all frozen. */
export function trained(weights: readonly Parameter[]): boolean {
  return weights.some((weight) => weight.gradient);
}

/** Whether an adapter adds to any of these. */
export const hasAdapters = (weights: readonly Parameter[]): boolean => weights.some(({ adapter }) => adapter);

/** What is trained of an adapter: both matrices or none. */
export const isTrained = ({ down }: LowRank): boolean => down.gradient !== undefined;

/** Whether an adapter of any of these is trained. */
export const trainedAdapters = (weights: readonly Parameter[]): boolean =>
  weights.some(({ adapter }) => adapter && isTrained(adapter));

export const values = (weights: readonly Parameter[]): Tensor[] => weights.map((weight) => weight.value);

/** The gradients of weights that are all trainable. */
export const gradients = (weights: readonly Parameter[]): Tensor[] => weights.map((weight) => weight.gradient!);
