import { Scope } from './scope.js';
import { GradientNode, type Tensor } from './tensor.js';

/**
 * f(x). In a scope that recomputes, only x is kept of it: when the gradient comes, f runs once more (Chen et al., Training
 * Deep Nets with Sublinear Memory Cost). f must give the same value both times, and depend on nothing differentiable but x.
 * It is told whether its value is needed: the second time only what leads there is, and its last op may be left out.
 */
export function recomputed(scope: Scope, x: Tensor, f: (scope: Scope, x: Tensor, valued: boolean) => Tensor): Tensor {
  if (!scope.recompute || !x.node) return f(scope, x, true);
  const { device } = scope;
  using unrecorded = Scope.inference(device);
  const y = scope.track(unrecorded.release(f(unrecorded, x, true)).withNode(new GradientNode()));
  scope.tape!.record(y, [x], (dy, [x], known) => {
    using again = Scope.recording(device);
    const start = again.track(x!.share().withNode(new GradientNode()));
    const y = f(again, start, false);
    y.dispose();
    using dx = again.tape!.gradientOf(start, y, dy);
    known.give(x!, dx);
  });
  return y;
}
