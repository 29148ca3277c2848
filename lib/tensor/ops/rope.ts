import { detached, needsGradient } from '../gradient.js';
import { type Maybe, nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  rope: { y: Tensor; x: Tensor; table: readonly Tensor[]; starts: Maybe<Tensor>; inverse: boolean };
}

/** native/ops/rope.h */
export const ropeOps = nativeOps<Calls>({
  rope: noProducts,
});

/**
 * Rotary position embedding of the first R channels of x [M, B, T, H, D], with one table [P, R] for each member. Token t of
 * sequence b stands at position starts[b] + t (0 + t without `starts`).
 */
export function rope(scope: Scope, x: Tensor, table: readonly Tensor[], starts?: Tensor): Tensor {
  const { device } = scope;
  const y = scope.empty(x.shape, needsGradient(x));
  const common = { table: table.map((member) => member), starts };
  device.run('rope', { y, x, inverse: false, ...common });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, starts ? [starts] : [], (dy, _, known) => {
      device.run('rope', { y: dy, x: dy, inverse: true, ...common });
      known.give(end, dy);
    });
  }
  return y;
}
