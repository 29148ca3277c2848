import { BtsError } from '../base/errors.js';
import { bytesOf, type DType, type NativeTensor, typed } from './addon.js';
import type { Device, TensorData } from './device.js';

/**
 * What gradients flow through: one per value that depends on something trainable. Tensors over the same value share
 * it, whatever their shape.
 */
export class GradientNode {}

/** A dense array in device memory. Contents may still be on their way; `read` waits for them. */
export class Tensor implements Disposable {
  #disposed = false;
  /** @internal The same for all handles on one memory. */
  readonly memory: object;

  /** @internal Tensors are made by devices and ops. */
  constructor(
    /** Where it lies. */
    readonly device: Device,
    /** @internal Of devices alone. */
    readonly native: NativeTensor,
    /** Of its elements. */
    readonly dtype: DType,
    /** Row-major. */
    readonly shape: readonly number[],
    /** Set where a gradient is needed. */
    readonly node?: GradientNode,
    memory?: object,
  ) {
    this.memory = memory ?? this;
  }

  /** How many elements. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  /** How many bytes its elements take. */
  get bytes(): number {
    return bytesOf(this.dtype, this.shape);
  }

  /** The same memory in another shape; both must be disposed. Throws BAD_SHAPE unless it has as many elements. */
  reshape(...shape: number[]): Tensor {
    if (shape.reduce((product, size) => product * size, 1) !== this.size) {
      throw new BtsError(
        'BAD_SHAPE',
        `[${this.shape}] cannot be reshaped to [${shape}]: the sizes multiply to different numbers.`,
      );
    }
    return new Tensor(this.device, this.view(shape, 0), this.dtype, shape, this.node, this.memory);
  }

  /** Another handle on the same memory, with a lifetime of its own. */
  share(): Tensor {
    return this.reshape(...this.shape);
  }

  /**
   * Entries first..last-1 of the leading dimension, without copying. It carries no gradient.
   *
   * @param first the first of them
   * @param last the one behind the last; default: one entry
   */
  slice(first: number, last = first + 1): Tensor {
    const [count = 0, ...rest] = this.shape;
    if (!(first >= 0 && first <= last && last <= count)) {
      throw new BtsError('BAD_SHAPE', `slice ${first}..${last} lies outside the leading dimension of [${this.shape}].`);
    }
    const stride = rest.reduce((product, size) => product * size, 1);
    const shape = [last - first, ...rest];
    return new Tensor(this.device, this.view(shape, first * stride), this.dtype, shape, undefined, this.memory);
  }

  /** The same tensor as a value of the gradient node given. Takes over this handle. @internal */
  withNode(node: GradientNode | undefined): Tensor {
    return new Tensor(this.device, this.native, this.dtype, this.shape, node, this.memory);
  }

  /** Replaces the contents once all work queued so far is done. Throws BAD_SHAPE unless there are as many elements, BAD_OPTION for another type. */
  write(data: TensorData): void {
    this.device.upload(this, data);
  }

  /** Contents as f32, of an f32 or bf16 tensor. Throws the error of the op that failed to compute it. */
  async read(): Promise<Float32Array> {
    this.expect('f32', 'bf16');
    const bytes = await this.device.bytes(this);
    if (this.dtype === 'f32') return new Float32Array(bytes);
    // A bf16 number is the upper half of an f32.
    const wide = Uint32Array.from(new Uint16Array(bytes), (half) => half << 16);
    return new Float32Array(wide.buffer);
  }

  /** Waits for what is queued, and copies the elements of a tensor of integers. Throws BAD_SHAPE, DISPOSED, and what went wrong on the way. */
  async readIntegers(): Promise<Int32Array> {
    this.expect('i32');
    return new Int32Array(await this.device.bytes(this));
  }

  /** Contents as they lie in memory, little endian. */
  async readBytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.device.bytes(this));
  }

  /** Waits until the contents are there. Throws the error of what failed to produce them. */
  async settled(): Promise<void> {
    using nothing = new Tensor(this.device, this.view([0], 0), this.dtype, [0]);
    await this.device.bytes(nothing);
  }

  /** The only element of a tensor of floats. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new BtsError('BAD_SHAPE', `item() needs one element, the shape is [${this.shape}].`);
    return (await this.read())[0]!;
  }

  /** Gives back its memory, when what is queued is done with it. Twice is harmless. */
  dispose(): void {
    this.#disposed = true;
    this.native.dispose();
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private view(shape: readonly number[], offset: number): NativeTensor {
    try {
      return this.native.view(shape, offset);
    } catch (error) {
      throw typed(error);
    }
  }

  private expect(...dtypes: DType[]): void {
    if (!dtypes.includes(this.dtype))
      throw new BtsError('BAD_OPTION', `expected a tensor of type ${dtypes.join(' or ')}, it holds ${this.dtype}.`);
  }
}
