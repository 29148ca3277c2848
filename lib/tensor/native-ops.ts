import type * as ops from './ops/index.js';
import type { Tensor } from './tensor.js';

/** What one call of an op costs in floating-point operations, from its tensors' shapes. */
type Flops<Args> = (args: Args) => number;

/**
 * The native ops that a file of ops/ is about: what each takes, as a type, and what it costs. Formulas and shapes stand in
 * native/ops.
 */
export class NativeOps<Calls> {
  constructor(readonly flops: { readonly [Op in keyof Calls]: Flops<Calls[Op]> }) {}
}

export const nativeOps = <Calls>(flops: NativeOps<Calls>['flops']): NativeOps<Calls> => new NativeOps<Calls>(flops);

type Union<Exports> = {
  [Name in keyof Exports]: Exports[Name] extends NativeOps<infer Calls> ? Calls : never;
}[keyof Exports];
type Intersection<U> = (U extends unknown ? (each: U) => void : never) extends (all: infer I) => void ? I : never;

/** The arguments of every native op. */
export type OpArguments = Intersection<Union<typeof ops>>;

/** What may be missing is undefined. */
export type Maybe<X> = X | undefined;

// Matrix products count two operations for each multiply-add; all else is elementwise and counts as nothing, here as in
// lib/model/cost/cost.ts.

export const noProducts = (): number => 0;

/** C = A B with A [rows, depth] and B [depth, cols]. */
export const product = (rows: number, depth: number, cols: number): number => 2 * rows * depth * cols;

/** x [M, N, I] times a matrix for each member, giving [M, N, O]. */
export function linearProduct(x: Tensor, y: Tensor): number {
  const [members = 0, rows = 0, inputs = 0] = x.shape;
  return members * product(rows, inputs, y.shape[2]!);
}
