/** Ops of a mixture of experts: one input for all members, and their outputs mixed (formulas in native/ops.h). */
import type { Scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** Copies of x [1, N, C] for as many members: [M, N, C]. The gradients of all copies add up in x. */
export function repeat(scope: Scope, x: Tensor, members: number): Tensor {
  const { device } = scope;
  const [, rows, width] = x.shape as [number, number, number];
  const y = scope.empty([members, rows, width], x.node !== undefined);
  for (let m = 0; m < members; m++) {
    using copy = y.slice(m);
    device.run('convert', { y: copy.native, x: x.native });
  }
  if (y.node) {
    const end = x.withNode(x.node);
    scope.tape!.record(y, [], (dy, _, known) => {
      for (let m = 0; m < members; m++) {
        using dx = dy.slice(m);
        known.give(end, dx);
      }
    });
  }
  return y;
}

export interface MixOptions {
  /** [1, N, C], added to the result. */
  residual?: Tensor | undefined;
  /** Only the largest weights of each row count; default all. */
  keep?: number;
  /** Of the softmax; 0: all weight on the largest logit. Default 1. */
  temperature?: number;
}

/** sum over m of g_m x_m (+ residual), [1, N, C], with g = softmax of logits [N, M] over the members of x [M, N, C]. */
export function mix(scope: Scope, x: Tensor, logits: Tensor, options: MixOptions = {}): Tensor {
  const { device } = scope;
  const [members, rows, width] = x.shape as [number, number, number];
  const { residual, keep = members, temperature = 1 } = options;
  const differentiable = [x, logits, residual].some((input) => input?.node);
  const y = scope.empty([1, rows, width], differentiable);
  using inner = scope.inner();
  const gates = inner.empty([rows, members]);
  const flat = (tensor: Tensor) => inner.track(tensor.reshape(rows, width)).native;
  device.run('mix_forward', {
    y: flat(y),
    gates: gates.native,
    x: x.native,
    logits: logits.native,
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
      const common = { dy: drows.native, x: x.native, logits: logits.native, keep, temperature };
      device.run('mix_backward', { dx: dx.native, dlogits: dlogits.native, ...common });
      known.give(x, dx);
      known.give(logits, dlogits);
      if (residualEnd) known.give(residualEnd, dy);
    });
  }
  return y;
}

/** weights x: [B, C] from weights [B, N] and x [N, C]. Without a gradient: for inference. */
export function combineRows(scope: Scope, x: Tensor, weights: Tensor): Tensor {
  const [rows, width] = x.shape as [number, number];
  const [count] = weights.shape as [number];
  using inner = scope.inner();
  const y = inner.empty([1, count, width]);
  const dy = inner.track(weights.reshape(1, count, rows));
  // The product dy W that a linear layer forms for its input's gradient is this one.
  scope.device.run('linear_backward_input', { dx: y.native, dy: dy.native, weight: [x.native], accumulate: false });
  return scope.track(y.reshape(count, width));
}
