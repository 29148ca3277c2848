import { BtsError } from '../../base/errors.js';
import { aroundAxis, withAxis } from '../axis.js';
import { detached, needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import { GradientNode, type Tensor } from '../tensor.js';

interface Calls {
  slice_forward: { y: Tensor; x: Tensor; first: number };
  slice_backward: { dx: Tensor; dy: Tensor; first: number; accumulate: boolean };
}

/** native/ops/slice.h */
export const sliceOps = nativeOps<Calls>({ slice_forward: noProducts, slice_backward: noProducts });

/** Entries first..last-1 of one axis; of the leading one, without copying. Throws BAD_SHAPE where it has not so many. */
export function slice(scope: Scope, x: Tensor, axis: number, first: number, last: number): Tensor {
  const { device } = scope;
  const [before, size, after] = aroundAxis(x, axis);
  if (!(first >= 0 && first <= last && last <= size)) {
    throw new BtsError('BAD_SHAPE', `slice ${first}..${last} lies outside axis ${axis} of [${x.shape}].`);
  }
  const place = first * after;
  const width = (last - first) * after;
  const shape = withAxis(x.shape, axis, last - first);
  const differentiable = needsGradient(x);
  using inner = scope.inner();
  let y: Tensor;
  if (axis === 0) {
    y = scope.track(x.slice(first, last).withNode(differentiable && scope.tape ? new GradientNode() : undefined));
  } else {
    y = scope.empty(shape, differentiable);
    const [flatY, flatX] = [inner.track(y.reshape(before, width)), inner.track(x.reshape(before, size * after))];
    device.run('slice_forward', { y: flatY, x: flatX, first: place });
  }
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      using d = dy.reshape(before, width);
      known.add(end, (dx, accumulate) => {
        using flat = dx.reshape(before, size * after);
        device.run('slice_backward', { dx: flat, dy: d, first: place, accumulate });
      });
    });
  }
  return y;
}
