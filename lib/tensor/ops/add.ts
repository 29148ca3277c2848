import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  add: { y: Tensor; a: Tensor; b: Tensor };
}

/** native/ops/add.h */
export const addOps = nativeOps<Calls>({ add: noProducts });

/** a + b, of equal shapes. */
export function add(scope: Scope, a: Tensor, b: Tensor): Tensor {
  const { device } = scope;
  const y = scope.empty(a.shape, needsGradient(a, b));
  device.run('add', { y, a, b });
  if (y.node) {
    const ends = [detached(a), detached(b)] as const;
    scope.tape!.record(y, [], (dy, _, known) => {
      // A gradient is changed where it lies: only one of the two may have this one.
      known.add(ends[0], (da, accumulate) => {
        if (accumulate) device.run('add', { y: da, a: da, b: dy });
        else device.run('convert', { y: da, x: dy });
      });
      known.give(ends[1], dy);
    });
  }
  return y;
}
