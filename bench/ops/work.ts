import type { Device } from '../../lib/tensor/device.js';
import type { OpArguments } from '../../lib/tensor/native-ops.js';
import type { Tensor } from '../../lib/tensor/tensor.js';

/** How much passes through an op at once; widths are those of the paper's 2.7B models (Table 6). */
export interface Dimensions {
  rows: number;
  members: number;
  vocabulary: number;
  /** Square matrices of the models' width that an optimizer changes. */
  matrices: number;
}
export const WIDTH = 3072;
export const FEED_FORWARD = 8192;

/** A call of an op with its tensors. */
export interface Prepared {
  run(): void;
  /** What it writes. */
  results: readonly Tensor[];
  flops?: number;
  /** Least bytes that the op must read and write. */
  bytes?: number;
}

/** An op at one shape. Its name is that of the same work in pytorch_ops.py. */
export interface Work {
  name: string;
  prepare(inputs: Inputs): Prepared;
}

/** Makes tensors of normal deviates and owns them. They hold what bf16 holds, so that every device is given the same. */
export class Inputs implements Disposable {
  private readonly tensors: Tensor[] = [];
  private seed = 0;

  constructor(readonly device: Device) {}

  private own(tensor: Tensor): Tensor {
    this.tensors.push(tensor);
    return tensor;
  }

  /** Of f32, with room for results too: losses, gradients of weights, state of the optimizer. */
  f32(shape: readonly number[], deviation = 1): Tensor {
    using narrow = this.narrow(shape, deviation);
    return this.own(this.wide(narrow));
  }

  full(shape: readonly number[], value: number): Tensor {
    return this.own(this.device.full(shape, value));
  }

  /** Hidden states, or room for them. */
  hidden(...shape: number[]): Tensor {
    const narrow = this.narrow(shape, 1);
    if (this.device.activations === 'bf16') return this.own(narrow);
    using made = narrow;
    return this.own(this.wide(made));
  }

  /** Frozen weights of each member, such that products of normal deviates are normal deviates. */
  weights(members: number, outputs: number, inputs: number, dtype: 'f32' | 'bf16' = 'bf16'): Tensor[] {
    const deviation = 1 / Math.sqrt(inputs);
    return Array.from({ length: members }, () => {
      if (dtype === 'f32') return this.f32([outputs, inputs], deviation);
      return this.own(this.narrow([outputs, inputs], deviation));
    });
  }

  integers(count: number, limit: number): Tensor {
    const values = Int32Array.from({ length: count }, (_, i) => (i * 7919) % limit);
    return this.own(this.device.tensor(values, [count]));
  }

  private narrow(shape: readonly number[], deviation: number): Tensor {
    using wide = this.device.empty(shape);
    this.device.run('fill_normal', { y: wide, deviation, seed: ++this.seed });
    const narrow = this.device.empty(shape, 'bf16');
    this.device.run('convert', { y: narrow, x: wide });
    return narrow;
  }

  private wide(x: Tensor): Tensor {
    const y = this.device.empty(x.shape);
    this.device.run('convert', { y, x });
    return y;
  }

  [Symbol.dispose](): void {
    for (const tensor of this.tensors) tensor.dispose();
  }
}

/** Bytes of all elements of tensors. */
export const bytesOf = (...tensors: readonly Tensor[]): number =>
  tensors.reduce((sum, { size, dtype }) => sum + size * (dtype === 'bf16' || dtype === 'f16' ? 2 : 4), 0);

/** A call of one op. */
export function prepared<Op extends keyof OpArguments>(
  { device }: Inputs,
  op: Op,
  args: OpArguments[Op],
  rest: Omit<Prepared, 'run'>,
): Prepared {
  return { run: () => device.run(op, args), ...rest };
}
