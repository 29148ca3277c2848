import type { z } from 'zod';
import { expectAlive } from '../base/errors.js';
import { checkOptions } from '../base/options-check.js';
import { nonNegative, orInfinity, positive, properFraction } from '../base/schema.js';
import type { Communicator } from '../tensor/communicator.js';
import type { Device } from '../tensor/device.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { globalNorm } from './global-norm.js';

export const adamwOptions = {
  /** Decoupled, on every parameter; default 0.1. */
  weightDecay: nonNegative().default(0.1).meta({ description: 'Decoupled weight decay of AdamW' }),
  /** The global norm to which gradients are scaled down; default 1. Infinity: never. */
  clipNorm: orInfinity(positive()).default(1).meta({ description: 'Norm that gradients are scaled down to' }),
  /** Decay of the first moments; default 0.9. */
  beta1: properFraction().default(0.9).meta({ description: 'Decay of the first moments' }),
  /** Decay of the second moments; default 0.95. */
  beta2: properFraction().default(0.95).meta({ description: 'Decay of the second moments' }),
  /** Added to the root of the second moments; default 1e-8. */
  epsilon: positive().default(1e-8).meta({ description: 'Added to the root of the second moments' }),
};
/** What AdamW takes beside the learning rate. */
export type AdamWOptions = z.input<z.ZodObject<typeof adamwOptions>>;

/** AdamW with decoupled weight decay (Loshchilov & Hutter 2019) over the trainable parameters of a model. */
export class AdamW implements Disposable {
  #disposed = false;
  /** What it was made with, defaults filled in. */
  readonly options: Readonly<z.output<z.ZodObject<typeof adamwOptions>>>;
  /** Updates done. */
  steps = 0;
  /** Running means of gradients, f32, of the shapes of the parameters. */
  readonly firstMoments: readonly Tensor[];
  /** Running means of squared gradients, f32, of the same shapes. */
  readonly secondMoments: readonly Tensor[];

  /**
   * Throws BAD_OPTION for an option that there is not, or that is out of range.
   *
   * @param parameters what is trained
   * @param options other than the defaults
   */
  constructor(
    private readonly device: Device,
    private readonly parameters: readonly Parameter[],
    options: AdamWOptions = {},
  ) {
    this.options = checkOptions('AdamW', adamwOptions, options, {});
    const moments: Tensor[] = [];
    try {
      for (const { value } of [...parameters, ...parameters]) moments.push(device.full(value.shape, 0));
    } catch (error) {
      for (const moment of moments) moment.dispose();
      throw error;
    }
    this.firstMoments = moments.slice(0, parameters.length);
    this.secondMoments = moments.slice(parameters.length);
  }

  /** Sets all gradients to 0, for the next update. */
  zeroGradients(): void {
    this.expectAlive();
    for (const { gradient } of this.parameters) this.device.run('fill', { y: gradient!, value: 0 });
  }

  /**
   * The global norm of the gradients there are, before clipping: a tensor of one element that the caller disposes.
   *
   * @param members of ranks whose optimizers have the other parameters of the model: the norm is that of all
   */
  gradientNorm(members?: Communicator): Tensor {
    this.expectAlive();
    return globalNorm(this.device, this.gradients, members);
  }

  /**
   * One update. Where the norm is not finite, weights and moments are left as they were.
   *
   * @param learningRate of this update
   */
  update(norm: Tensor, learningRate: number): void {
    this.expectAlive();
    this.steps++;
    this.device.run('adamw', {
      parameters: this.parameters.map(({ value }) => value),
      gradients: this.gradients,
      firstMoments: this.firstMoments,
      secondMoments: this.secondMoments,
      norm,
      learningRate,
      step: this.steps,
      ...this.options,
    });
  }

  private expectAlive(): void {
    expectAlive(this.#disposed, 'an optimizer');
  }

  private get gradients() {
    return this.parameters.map(({ gradient }) => gradient!);
  }

  /** Gives back the memory of the moments. Twice is harmless; an optimizer that is used afterwards throws DISPOSED. */
  dispose(): void {
    this.#disposed = true;
    for (const moment of [...this.firstMoments, ...this.secondMoments]) moment.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
