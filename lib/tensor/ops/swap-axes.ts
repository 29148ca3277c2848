import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  swap_axes: { y: Tensor; x: Tensor };
}

/** native/ops/swap_axes.h */
export const swapAxesOps = nativeOps<Calls>({ swap_axes: noProducts });

/** x [I, J, C] as [J, I, C]. */
export function swapAxes(scope: Scope, x: Tensor): Tensor {
  const { device } = scope;
  const [first = 0, second = 0, width = 0] = x.shape;
  const y = scope.empty([second, first, width], needsGradient(x));
  device.run('swap_axes', { y, x });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      using dx = device.empty(end.shape, end.dtype);
      device.run('swap_axes', { y: dx, x: dy });
      known.give(end, dx);
    });
  }
  return y;
}
