import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

/** weights x: [B, C] from weights [B, N] and x [N, C]. Without a gradient: for inference. */
export function combineRows(scope: Scope, x: Tensor, weights: Tensor): Tensor {
  const [rows, width] = x.shape as [number, number];
  const [count] = weights.shape as [number];
  using inner = scope.inner();
  const y = inner.empty([1, count, width]);
  const dy = inner.track(weights.reshape(1, count, rows));
  // The product dy W that a linear layer forms for its input's gradient is this one.
  scope.device.run('linear_backward_input', { dx: y, dy, weight: [x], accumulate: false });
  return scope.track(y.reshape(count, width));
}
