import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  sigmoid_forward: { y: Tensor; x: Tensor };
  sigmoid_backward: { dx: Tensor; dy: Tensor; y: Tensor };
}

/** native/ops/sigmoid.h */
export const sigmoidOps = nativeOps<Calls>({ sigmoid_forward: noProducts, sigmoid_backward: noProducts });

/** 1 / (1 + exp(-x)), elementwise. */
export function sigmoid(scope: Scope, x: Tensor): Tensor {
  const { device } = scope;
  const y = scope.empty(x.shape, needsGradient(x));
  device.run('sigmoid_forward', { y, x });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [y], (dy, [y], known) => {
      device.run('sigmoid_backward', { dx: dy, dy, y: y! });
      known.give(end, dy);
    });
  }
  return y;
}
