import { needsGradient } from '../gradient.js';
import { type Maybe, nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  mul_forward: { y: Tensor; a: Tensor; b: Tensor };
  mul_backward: { da: Maybe<Tensor>; db: Maybe<Tensor>; dy: Tensor; a: Tensor; b: Tensor };
}

/** native/ops/mul.h */
export const mulOps = nativeOps<Calls>({ mul_forward: noProducts, mul_backward: noProducts });

/** a b, elementwise; b has a's shape, or one number for each of its rows [.., 1]. */
export function mul(scope: Scope, a: Tensor, b: Tensor): Tensor {
  const { device } = scope;
  const y = scope.empty(a.shape, needsGradient(a, b));
  device.run('mul_forward', { y, a, b });
  if (y.node) {
    scope.tape!.record(y, [a, b], (dy, saved, known) => {
      const [a, b] = saved as [Tensor, Tensor];
      using da = a.node && device.empty(a.shape, a.dtype);
      using db = b.node && device.empty(b.shape, b.dtype);
      device.run('mul_backward', { da, db, dy, a, b });
      if (da) known.give(a, da);
      if (db) known.give(b, db);
    });
  }
  return y;
}
