import { aroundAxis, withAxis } from '../axis.js';
import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  sum_axis_forward: { y: Tensor; x: Tensor; scale: number };
  sum_axis_backward: { dx: Tensor; dy: Tensor; scale: number };
}

/** native/ops/sum_axis.h */
export const sumAxisOps = nativeOps<Calls>({ sum_axis_forward: noProducts, sum_axis_backward: noProducts });

/** scale * the sum over one axis, which has one entry afterwards. */
export function sumAxis(scope: Scope, x: Tensor, axis: number, scale = 1): Tensor {
  const { device } = scope;
  const [before, size, after] = aroundAxis(x, axis);
  const y = scope.empty(withAxis(x.shape, axis, 1), needsGradient(x));
  using inner = scope.inner();
  const [flatY, flatX] = [inner.track(y.reshape(before, 1, after)), inner.track(x.reshape(before, size, after))];
  device.run('sum_axis_forward', { y: flatY, x: flatX, scale });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      using d = dy.reshape(before, 1, after);
      using dx = device.empty([before, size, after], end.dtype);
      device.run('sum_axis_backward', { dx, dy: d, scale });
      known.give(end, dx);
    });
  }
  return y;
}

/** The mean over one axis, which has one entry afterwards. */
export function mean(scope: Scope, x: Tensor, axis: number): Tensor {
  const [, size] = aroundAxis(x, axis);
  return sumAxis(scope, x, axis, 1 / size);
}
