import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  dropout: { y: Tensor; x: Tensor; rate: number; seed: number; first?: number };
}

/** native/ops/dropout.h */
export const dropoutOps = nativeOps<Calls>({ dropout: noProducts });

export interface Dropout {
  /** The part of elements that is dropped, in [0, 1); the others are scaled by 1 / (1 - rate). */
  rate: number;
  /** Which ones: the same for the same seed. */
  seed: number;
  /** Rows of the same batch that come before these, and are computed elsewhere; default 0. */
  firstRow?: number | undefined;
}

/** x with some of its elements 0. Its rows are the entries of its leading dimension. */
export function dropout(scope: Scope, x: Tensor, { rate, seed, firstRow = 0 }: Dropout): Tensor {
  const { device } = scope;
  const y = scope.empty(x.shape, needsGradient(x));
  const first = firstRow * x.shape.slice(1).reduce((product, size) => product * size, 1);
  device.run('dropout', { y, x, rate, seed, first });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      device.run('dropout', { y: dy, x: dy, rate, seed, first });
      known.give(end, dy);
    });
  }
  return y;
}
