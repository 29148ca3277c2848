/**
 * What references are written with: what the ops of native/ops must compute, from their formulas. Every one takes the rounding of its
 * arithmetic as an argument: without rounding it is the truth (f64), with `single`, `mixed` or `mixedProducts` it is the naive
 * computation in f32 or bf16 that a kernel is measured against.
 */

import { Random } from '../../lib/base/random.js';
import { type DType, isQuantized } from '../../lib/tensor/addon.js';
import type { OpArguments } from '../../lib/tensor/native-ops.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { narrow } from './reference-halves.js';
import { dequantize, drawBytes } from './reference-quantized.js';

/** Every op but the one that measures the machine. */
export type Op = Exclude<keyof OpArguments, 'measure_peaks'>;

/** What arithmetic rounds to. */
export interface Round {
  (x: number): number;
  /** What numbers are rounded to that lie in memory between two steps of a naive computation. */
  stored(x: number): number;
  /** What the operands of a matrix product are rounded to. */
  operand(x: number): number;
}
const identity = (x: number) => x;
const toBf16 = (x: number) => narrow(x, 'bf16');
const rounding = (arithmetic: (x: number) => number, stored: Round['stored'], operand: Round['operand']): Round =>
  Object.assign((x: number) => arithmetic(x), { stored, operand });
export const exact = rounding(identity, identity, identity);
export const single = rounding(Math.fround, identity, identity);
/** Activations in bf16, and products of bf16 numbers, summed in f32. */
export const mixed = rounding(Math.fround, toBf16, toBf16);
/** Activations in f32, and products of bf16 numbers, summed in f32. */
export const mixedProducts = rounding(Math.fround, identity, toBf16);

/** What a tensor holds; activations are f32 or bf16, as the device has them (see Case). */
export type Element = DType | 'activation';

/** The contents of a tensor: numbers that its element type holds exactly. */
export class Values {
  constructor(
    readonly shape: readonly number[],
    readonly data: Float64Array,
    readonly dtype: Element = 'activation',
    /** Of what is quantized: how it lies in memory. */
    readonly bytes?: Uint8Array,
  ) {}

  /** The element at an index of up to five dimensions. */
  at(a: number, b?: number, c?: number, d?: number, e?: number): number {
    const { shape } = this;
    let offset = a;
    if (b !== undefined) offset = offset * shape[1]! + b;
    if (c !== undefined) offset = offset * shape[2]! + c;
    if (d !== undefined) offset = offset * shape[3]! + d;
    if (e !== undefined) offset = offset * shape[4]! + e;
    return this.data[offset]!;
  }
}

type Plain<X> = X extends Tensor
  ? Values
  : X extends readonly Tensor[]
    ? Values[]
    : X extends readonly (Tensor | undefined)[]
      ? (Values | undefined)[]
      : X;

/** The arguments of an op with the contents of tensors in their place; outputs come with what they held before. */
export type Arguments<O extends Op> = { [Name in keyof OpArguments[O]]: Plain<OpArguments[O][Name]> };

/** What the outputs hold afterwards, by name. What is not named must not change. */
export type Outputs<O extends Op> = { [Name in keyof OpArguments[O]]?: Float64Array | Float64Array[] };

export type Reference<O extends Op> = (args: Arguments<O>, r: Round) => Outputs<O>;

export const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** The array whose element at each index is `f(...index)`. */
export function build(shape: readonly number[], f: (...index: number[]) => number): Float64Array {
  const index = shape.map(() => 0);
  return Float64Array.from({ length: sizeOf(shape) }, () => {
    const value = f(...index);
    for (let d = shape.length - 1; d >= 0 && ++index[d]! === shape[d]; d--) index[d] = 0;
    return value;
  });
}

export const evaluate = (shape: readonly number[], f: (...index: number[]) => number) =>
  new Values(shape, build(shape, f));

/** a b, of a matrix product. */
export const times = (r: Round, a: number, b: number) => r(r.operand(a) * r.operand(b));

/** f(0) + .. + f(n-1), rounded after every addition. */
export function sum(r: Round, n: number, f: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < n; i++) total = r(total + f(i));
  return total;
}

/** Contents that a test draws, always the same for the same seed. */
export class Draw {
  private readonly random: Random;

  constructor(seed: number) {
    this.random = new Random(seed, 'values');
  }

  /** Normal deviates (Box and Muller) times `scale`, rounded to the element type; of a quantized one, codes that are all as likely. */
  normal(shape: readonly number[], scale = 1, dtype: Element = 'activation'): Values {
    if (dtype !== 'activation' && isQuantized(dtype)) {
      const bytes = drawBytes(dtype, shape, scale, () => this.random.uint32());
      return new Values(shape, dequantize(dtype, shape, bytes), dtype, bytes);
    }
    const uniform = () => (this.random.uint32() + 0.5) / 2 ** 32;
    const deviate = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return new Values(
      shape,
      Float64Array.from({ length: sizeOf(shape) }, () => narrow(scale * deviate(), dtype)),
      dtype,
    );
  }

  /** Normal deviates of f32: weights that are trained, losses, state of the optimizer. */
  f32(shape: readonly number[], scale = 1): Values {
    return this.normal(shape, scale, 'f32');
  }

  /** Weights, one array for each member, of the types given in turn. */
  members(count: number, shape: readonly number[], scale = 1, dtypes: readonly DType[] = ['f32']): Values[] {
    return Array.from({ length: count }, (_, m) => this.normal(shape, scale, dtypes[m % dtypes.length]));
  }

  /** Integers from 0 to `limit` - 1. */
  integers(count: number, limit: number): Values {
    return integers(Array.from({ length: count }, () => this.random.below(limit)));
  }
}

export const integers = (list: readonly number[], shape: readonly number[] = [list.length]) =>
  new Values(shape, Float64Array.from(list), 'i32');

/** An output before its op ran: NaN everywhere, so that what is not written is seen. */
export function blank(shape: readonly number[], dtype: Element = 'activation'): Values {
  return new Values(shape, new Float64Array(sizeOf(shape)).fill(Number.NaN), dtype);
}
