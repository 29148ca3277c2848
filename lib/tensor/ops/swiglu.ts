import { needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import { GradientNode, type Tensor } from '../tensor.js';

/** What gates a feed-forward layer. */
export type Activation = 'silu' | 'gelu' | 'geluTanh';

interface Calls {
  swiglu_forward: { y: Tensor; gate: Tensor; up: Tensor; activation: Activation };
  swiglu_backward: { dgate: Tensor; dup: Tensor; dy: Tensor; gate: Tensor; up: Tensor; activation: Activation };
}

/** native/ops/swiglu.h */
export const swigluOps = nativeOps<Calls>({
  swiglu_forward: noProducts,
  swiglu_backward: noProducts,
});

export interface SwigluOptions {
  /** Default `silu`. */
  activation?: Activation;
  /** Nobody else needs gate and up: their gradients take their place. */
  consume?: boolean;
  /** Whether the result itself is needed, and not only its gradient. */
  valued?: boolean;
}

/** activation(gate) * up, elementwise. */
export function swiglu(scope: Scope, gate: Tensor, up: Tensor, options: SwigluOptions = {}): Tensor {
  const { device } = scope;
  const { activation = 'silu', consume = false, valued = true } = options;
  const differentiable = needsGradient(gate, up);
  const y = valued ? scope.empty(gate.shape, differentiable) : scope.track(gate.share().withNode(new GradientNode()));
  if (valued) device.run('swiglu_forward', { y, gate, up, activation });
  if (y.node) {
    scope.tape!.record(y, [gate, up], (dy, saved, known) => {
      const [gate, up] = saved as [Tensor, Tensor];
      using dgate = consume ? gate.share() : device.empty(gate.shape, gate.dtype);
      using dup = consume ? up.share() : device.empty(up.shape, up.dtype);
      device.run('swiglu_backward', { dgate, dup, dy, gate, up, activation });
      known.give(gate, dgate);
      known.give(up, dup);
    });
  }
  return y;
}
