import { aroundAxis, withAxis } from '../axis.js';
import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  concat: { y: Tensor; a: Tensor; b: Tensor };
}

/** native/ops/concat.h */
export const concatOps = nativeOps<Calls>({ concat: noProducts });

/** The entries of a, then those of b, along one axis; all other sizes are equal. */
export function concat(scope: Scope, a: Tensor, b: Tensor, axis: number): Tensor {
  const { device } = scope;
  const [before, first, after] = aroundAxis(a, axis);
  const [, second] = aroundAxis(b, axis);
  const widths = [first * after, second * after] as const;
  const y = scope.empty(withAxis(a.shape, axis, first + second), needsGradient(a, b));
  using inner = scope.inner();
  const rows = (tensor: Tensor) => inner.track(tensor.reshape(before, tensor.size / before));
  device.run('concat', { y: rows(y), a: rows(a), b: rows(b) });
  if (y.node) {
    const ends = [detached(a), detached(b)];
    scope.tape!.record(y, [], (dy, _, known) => {
      using d = dy.reshape(before, widths[0] + widths[1]);
      for (const [part, end] of ends.entries()) {
        if (!end.node) continue;
        using dx = device.empty([before, widths[part]!], end.dtype);
        device.run('slice_forward', { y: dx, x: d, first: part * widths[0] });
        known.give(end, dx);
      }
    });
  }
  return y;
}
