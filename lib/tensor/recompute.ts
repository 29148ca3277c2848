import { Scope } from './scope.js';
import { GradientNode, type Tensor } from './tensor.js';

/**
 * f(x). Where the scope has no allowance left, only x is kept of it: when the gradient comes, f runs once more (Chen et al.,
 * Training Deep Nets with Sublinear Memory Cost). f must give the same value both times, and depend on nothing differentiable but x.
 * It is told whether its value is needed: the second time only what leads there is, and its last op may be left out.
 */
export function recomputed(scope: Scope, x: Tensor, f: (scope: Scope, x: Tensor, valued: boolean) => Tensor): Tensor {
  const { device, tape, allowance } = scope;
  if (!tape || !x.node) return f(scope, x, true);
  if (allowance.isLeft) {
    const before = device.memory().liveBytes;
    const y = f(scope, x, true);
    allowance.spend(device.memory().liveBytes - before - y.bytes);
    return y;
  }
  using unrecorded = Scope.inference(device);
  const y = scope.track(unrecorded.release(f(unrecorded, x, true)).withNode(new GradientNode()));
  tape.record(y, [x], (dy, [x], known) => {
    using again = Scope.recording(device);
    const start = again.track(x!.share().withNode(new GradientNode()));
    const y = f(again, start, false);
    y.dispose();
    using dx = again.tape!.gradientOf(start, y, dy, known.watch);
    known.give(x!, dx);
  });
  return y;
}
