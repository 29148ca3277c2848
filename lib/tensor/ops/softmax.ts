import { aroundAxis } from '../axis.js';
import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  softmax_forward: { y: Tensor; x: Tensor };
  softmax_backward: { dx: Tensor; dy: Tensor; y: Tensor };
}

/** native/ops/softmax.h */
export const softmaxOps = nativeOps<Calls>({ softmax_forward: noProducts, softmax_backward: noProducts });

/** Softmax over one axis of few entries: over that of the members, it weighs them against each other. */
export function softmax(scope: Scope, x: Tensor, axis: number): Tensor {
  const { device } = scope;
  const sizes = aroundAxis(x, axis);
  const y = scope.empty(x.shape, needsGradient(x));
  using inner = scope.inner();
  device.run('softmax_forward', { y: inner.track(y.reshape(...sizes)), x: inner.track(x.reshape(...sizes)) });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [y], (dy, [y], known) => {
      using d = dy.reshape(...sizes);
      using values = y!.reshape(...sizes);
      device.run('softmax_backward', { dx: d, dy: d, y: values });
      known.give(end, dy);
    });
  }
  return y;
}
