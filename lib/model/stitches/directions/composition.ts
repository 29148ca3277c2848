/** What the compositions of both directions share. Gates and logits are [M', N, G], of the members that have a gate. */
import * as ops from '../../../tensor/ops/index.js';
import type { Scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';

/** Dropout as the fused ops draw it: in the order [N, M, G], a hub without a gate included. */
export function dropped(scope: Scope, logits: Tensor, members: number, dropout: ops.Dropout): Tensor {
  if (dropout.rate === 0) return logits;
  const all = ops.dropout(scope, byToken(scope, logits, members), dropout);
  return ops.slice(scope, ops.swapAxes(scope, all), 0, members - logits.shape[0]!, members);
}

/** [N, M, G], zero for a hub without a gate. */
export function byToken(scope: Scope, gates: Tensor, members: number): Tensor {
  const [gated, rows, width] = gates.shape as [number, number, number];
  if (gated === members) return ops.swapAxes(scope, gates);
  const hub = scope.empty([members - gated, rows, width]);
  using zero = scope.device.full(hub.shape, 0);
  scope.device.run('convert', { y: hub, x: zero });
  return ops.swapAxes(scope, ops.concat(scope, hub, gates, 0));
}
