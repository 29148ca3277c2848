import { needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  lerp_forward: { y: Tensor; a: Tensor; b: Tensor; g: Tensor };
  lerp_backward: { da: Tensor; db: Tensor; dg: Tensor; dy: Tensor; a: Tensor; b: Tensor; g: Tensor };
}

/** native/ops/lerp.h */
export const lerpOps = nativeOps<Calls>({ lerp_forward: noProducts, lerp_backward: noProducts });

/** (1 - g) a + g b, elementwise; g has the shape of a and b, or one number for each of their rows [.., 1]. */
export function lerp(scope: Scope, a: Tensor, b: Tensor, g: Tensor): Tensor {
  const { device } = scope;
  const y = scope.empty(a.shape, needsGradient(a, b, g));
  device.run('lerp_forward', { y, a, b, g });
  if (y.node) {
    scope.tape!.record(y, [a, b, g], (dy, saved, known) => {
      const [a, b, g] = saved as [Tensor, Tensor, Tensor];
      using da = device.empty(a.shape, a.dtype);
      using db = device.empty(b.shape, b.dtype);
      using dg = device.empty(g.shape, g.dtype);
      device.run('lerp_backward', { da, db, dg, dy, a, b, g });
      known.give(a, da);
      known.give(b, db);
      known.give(g, dg);
    });
  }
  return y;
}
