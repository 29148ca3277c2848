import { type Maybe, nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  gated_sum_forward: {
    y: Tensor;
    gates: Tensor;
    x: Tensor;
    logits: Tensor;
    residual: Maybe<Tensor>;
    keep: number;
    temperature: number;
  };
  gated_sum_backward: {
    dx: Tensor;
    dlogits: Tensor;
    dy: Tensor;
    x: Tensor;
    logits: Tensor;
    keep: number;
    temperature: number;
  };
}

/** native/ops/gated_sum.h */
export const gatedSumOps = nativeOps<Calls>({
  gated_sum_forward: noProducts,
  gated_sum_backward: noProducts,
});

export interface GatedSumOptions {
  /** [1, N, C], added to the result. */
  residual?: Tensor | undefined;
  /** Only the largest weights of each row count; default all. */
  keep?: number;
  /** Of the softmax; 0: all weight on the largest logit. Default 1. */
  temperature?: number;
}

/** sum over m of g_m x_m (+ residual), [1, N, C], with g = softmax of logits [N, M] over the members of x [M, N, C]. */
export function gatedSum(scope: Scope, x: Tensor, logits: Tensor, options: GatedSumOptions = {}): Tensor {
  const { device } = scope;
  const [members, rows, width] = x.shape as [number, number, number];
  const { residual, keep = members, temperature = 1 } = options;
  const differentiable = [x, logits, residual].some((input) => input?.node);
  const y = scope.empty([1, rows, width], differentiable);
  using inner = scope.inner();
  const gates = inner.empty([rows, members]);
  const flat = (tensor: Tensor) => inner.track(tensor.reshape(rows, width));
  device.run('gated_sum_forward', {
    y: flat(y),
    gates,
    x,
    logits,
    residual: residual && flat(residual),
    keep,
    temperature,
  });
  if (y.node) {
    const residualEnd = residual?.withNode(residual.node);
    scope.tape!.record(y, [x, logits], (dy, saved, known) => {
      const [x, logits] = saved as [Tensor, Tensor];
      using dx = device.empty(x.shape, x.dtype);
      using dlogits = device.empty(logits.shape, logits.dtype);
      using drows = dy.reshape(rows, width);
      const common = { dy: drows, x, logits, keep, temperature };
      device.run('gated_sum_backward', { dx, dlogits, ...common });
      known.give(x, dx);
      known.give(logits, dlogits);
      if (residualEnd) known.give(residualEnd, dy);
    });
  }
  return y;
}
