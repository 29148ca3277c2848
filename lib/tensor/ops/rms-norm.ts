import { detached, needsGradient } from '../gradient.js';
import { type Maybe, nativeOps, noProducts } from '../native-ops.js';
import { gradients, type Parameter, trained, values } from '../parameter.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  rms_norm_forward: {
    y: Tensor;
    x: Tensor;
    weight: readonly Tensor[];
    residual: Maybe<Tensor>;
    epsilon: number;
    offset: number;
  };
  rms_norm_backward_input: {
    dx: Tensor;
    dy: Tensor;
    x: Tensor;
    weight: readonly Tensor[];
    epsilon: number;
    offset: number;
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

export interface RmsNormOptions {
  epsilon: number;
  /** Added to the weights; default 0. */
  offset?: number;
  /** [M, N, C], added to the result. */
  residual?: Tensor | undefined;
}

/** y = x / sqrt(mean(x^2) + epsilon) * (offset + w) (+ residual) over the last dimension: [M, N, C]. */
export function rmsNorm(scope: Scope, x: Tensor, weight: readonly Parameter[], options: RmsNormOptions): Tensor {
  const { device } = scope;
  const { epsilon, offset = 0, residual } = options;
  const y = scope.empty(x.shape, needsGradient(x, residual) || trained(weight));
  const common = { weight: values(weight), epsilon, offset };
  device.run('rms_norm_forward', { y, x, residual, ...common });
  if (y.node) {
    const end = residual && detached(residual);
    scope.tape!.record(y, [x], (dy, [x], known) => {
      const inputs = { dy, x: x! };
      if (trained(weight)) {
        const dweight = gradients(weight);
        device.run('rms_norm_backward_weight', { dweight, epsilon, ...inputs });
        known.added(...dweight);
      }
      known.add(x!, (dx, accumulate) => {
        device.run('rms_norm_backward_input', { dx, accumulate, ...inputs, ...common });
      });
      if (end) known.give(end, dy);
    });
  }
  return y;
}
