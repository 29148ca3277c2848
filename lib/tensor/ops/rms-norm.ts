import { needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import { gradients, type Parameter, trained, values } from '../parameter.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  rms_norm_forward: { y: Tensor; x: Tensor; weight: readonly Tensor[]; epsilon: number };
  rms_norm_backward_input: {
    dx: Tensor;
    dy: Tensor;
    x: Tensor;
    weight: readonly Tensor[];
    epsilon: number;
    accumulate: boolean;
  };
  rms_norm_backward_weight: { dweight: readonly Tensor[]; dy: Tensor; x: Tensor; epsilon: number };
}

/** native/ops/rms_norm.h */
export const rmsNormOps = nativeOps<Calls>({
  rms_norm_forward: noProducts,
  rms_norm_backward_input: noProducts,
  rms_norm_backward_weight: noProducts,
});

/** y = x / sqrt(mean(x^2) + epsilon) * w over the last dimension: [M, N, C]. */
export function rmsNorm(scope: Scope, x: Tensor, weight: readonly Parameter[], epsilon: number): Tensor {
  const { device } = scope;
  const y = scope.empty(x.shape, needsGradient(x) || trained(weight));
  device.run('rms_norm_forward', { y, x, weight: values(weight), epsilon });
  if (y.node) {
    scope.tape!.record(y, [x], (dy, [x], known) => {
      const common = { dy, x: x!, epsilon };
      if (trained(weight)) device.run('rms_norm_backward_weight', { dweight: gradients(weight), ...common });
      known.add(x!, (dx, accumulate) => {
        device.run('rms_norm_backward_input', { dx, weight: values(weight), accumulate, ...common });
      });
    });
  }
  return y;
}
