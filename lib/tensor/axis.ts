import { BtsError } from '../base/errors.js';
import type { Tensor } from './tensor.js';

/** How many entries an axis has, and how many elements stand before it and in each of its entries. Throws BAD_SHAPE. */
export function aroundAxis({ shape }: Tensor, axis: number): [before: number, size: number, after: number] {
  const size = shape[axis];
  if (size === undefined) {
    throw new BtsError('BAD_SHAPE', `[${shape}] has no axis ${axis}: they count from 0.`);
  }
  const product = (sizes: readonly number[]) => sizes.reduce((all, each) => all * each, 1);
  return [product(shape.slice(0, axis)), size, product(shape.slice(axis + 1))];
}

/** The shape with another size in the place of one axis. */
export const withAxis = (shape: readonly number[], axis: number, size: number): number[] =>
  shape.map((each, at) => (at === axis ? size : each));
