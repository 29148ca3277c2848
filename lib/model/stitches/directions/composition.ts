/**
 * What the compositions of both directions share. Gates and logits are [M', N, G], of members that follow each other, by default
 * those that have a gate.
 */
import * as ops from '../../../tensor/ops/index.js';
import type { Scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';

/** Dropout as the fused ops draw it: in the order [N, M, G], members that are not here included. */
export function dropped(
  scope: Scope,
  logits: Tensor,
  members: number,
  dropout: ops.Dropout,
  first = members - logits.shape[0]!,
): Tensor {
  if (dropout.rate === 0) return logits;
  const all = ops.dropout(scope, byToken(scope, logits, members, first), dropout);
  return ops.slice(scope, ops.swapAxes(scope, all), 0, first, first + logits.shape[0]!);
}

/** [N, M, G], zero for members that are not here. */
export function byToken(scope: Scope, gates: Tensor, members: number, first = members - gates.shape[0]!): Tensor {
  const [here, rows, width] = gates.shape as [number, number, number];
  const zeros = (count: number) => {
    const zero = scope.empty([count, rows, width]);
    using from = scope.device.full(zero.shape, 0);
    scope.device.run('convert', { y: zero, x: from });
    return zero;
  };
  const after = members - first - here;
  const led = first > 0 ? ops.concat(scope, zeros(first), gates, 0) : gates;
  return ops.swapAxes(scope, after > 0 ? ops.concat(scope, led, zeros(after), 0) : led);
}
