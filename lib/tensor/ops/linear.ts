import { detached, needsGradient } from '../gradient.js';
import { linearProduct, type Maybe, nativeOps } from '../native-ops.js';
import { gradients, type Parameter, trained, values } from '../parameter.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  linear_forward: {
    y: Tensor;
    x: Tensor;
    weight: readonly Tensor[];
    bias: Maybe<readonly Tensor[]>;
    residual: Maybe<Tensor>;
    alone?: boolean;
  };
  linear_backward_input: { dx: Tensor; dy: Tensor; weight: readonly Tensor[]; accumulate: boolean };
  linear_backward_weight: { dweight: readonly Tensor[]; dbias: Maybe<readonly Tensor[]>; dy: Tensor; x: Tensor };
}

/** native/ops/linear.h */
export const linearOps = nativeOps<Calls>({
  linear_forward: ({ x, y }) => linearProduct(x, y),
  linear_backward_input: ({ dx, dy }) => linearProduct(dx, dy),
  linear_backward_weight: ({ x, dy }) => linearProduct(x, dy),
});

export interface LinearOptions {
  bias?: readonly Parameter[] | undefined;
  /** [M, N, O], added to the result. */
  residual?: Tensor | undefined;
}

/** y = x W^T (+ bias) (+ residual): [M, N, O] from x [M, N, I] and weights [O, I]. */
export function linear(scope: Scope, x: Tensor, weight: readonly Parameter[], options: LinearOptions = {}): Tensor {
  const { bias, residual } = options;
  const { device } = scope;
  const [members = 0, rows = 0] = x.shape;
  const y = scope.empty([members, rows, weight[0]!.value.shape[0]!], needsGradient(x, residual) || trained(weight));
  device.run('linear_forward', {
    y,
    x,
    weight: values(weight),
    bias: bias && values(bias),
    residual,
    alone: scope.alone,
  });
  if (y.node) {
    // Frozen weights need no x again, so only its shape and node are kept.
    const saved = trained(weight) ? [x] : [];
    const ends = { x: detached(x), residual: residual && detached(residual) };
    scope.tape!.record(y, saved, (dy, [x], known) => {
      if (x) {
        const dbias = bias && trained(bias) ? gradients(bias) : undefined;
        device.run('linear_backward_weight', { dweight: gradients(weight), dbias, dy, x });
      }
      known.add(ends.x, (dx, accumulate) => {
        device.run('linear_backward_input', { dx, dy, weight: values(weight), accumulate });
      });
      if (ends.residual) known.give(ends.residual, dy);
    });
  }
  return y;
}
