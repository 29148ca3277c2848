import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  sum_forward: { y: Tensor; x: Tensor; scale: number };
  sum_backward: { dx: Tensor; dy: Tensor; scale: number };
}

/** native/ops/sum.h */
export const sumOps = nativeOps<Calls>({
  sum_forward: noProducts,
  sum_backward: noProducts,
});

/** scale * sum of x [N], a tensor of one element. */
export function sum(scope: Scope, x: Tensor, scale: number): Tensor {
  const { device } = scope;
  const y = scope.empty([1], needsGradient(x), 'f32');
  device.run('sum_forward', { y, x, scale });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      using dx = device.empty(end.shape, end.dtype);
      device.run('sum_backward', { dx, dy, scale });
      known.give(end, dx);
    });
  }
  return y;
}
