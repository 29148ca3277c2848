import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  dropout: { y: Tensor; x: Tensor; rate: number; seed: number };
}

/** native/ops/dropout.h */
export const dropoutOps = nativeOps<Calls>({ dropout: noProducts });

export interface Dropout {
  /** The part of elements that is dropped, in [0, 1); the others are scaled by 1 / (1 - rate). */
  rate: number;
  /** Which ones: the same for the same seed. */
  seed: number;
}

/** x with some of its elements 0. */
export function dropout(scope: Scope, x: Tensor, { rate, seed }: Dropout): Tensor {
  const { device } = scope;
  const y = scope.empty(x.shape, needsGradient(x));
  device.run('dropout', { y, x, rate, seed });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      device.run('dropout', { y: dy, x: dy, rate, seed });
      known.give(end, dy);
    });
  }
  return y;
}
