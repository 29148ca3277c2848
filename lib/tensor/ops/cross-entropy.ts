import { needsGradient } from '../gradient.js';
import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  cross_entropy_forward: { losses: Tensor; logits: Tensor; targets: Tensor };
  cross_entropy_backward: { dlogits: Tensor; dlosses: Tensor; logits: Tensor; targets: Tensor; softcap: number };
}

/** native/ops/cross_entropy.h */
export const crossEntropyOps = nativeOps<Calls>({
  cross_entropy_forward: noProducts,
  cross_entropy_backward: noProducts,
});

/**
 * Losses [N] of logits [N, V] against targets [N], 0 where a target is negative. The backward overwrites the logits. Where they
 * were capped in place at `softcap`, it is the gradient of what they were before.
 */
export function crossEntropy(scope: Scope, logits: Tensor, targets: Tensor, softcap: number | null = null): Tensor {
  const { device } = scope;
  const losses = scope.empty([targets.size], needsGradient(logits), 'f32');
  device.run('cross_entropy_forward', { losses, logits, targets });
  if (losses.node) {
    scope.tape!.record(losses, [logits, targets], (dlosses, saved, known) => {
      const [logits, targets] = saved as [Tensor, Tensor];
      device.run('cross_entropy_backward', { dlogits: logits, dlosses, logits, targets, softcap: softcap ?? 0 });
      known.give(logits, logits);
    });
  }
  return losses;
}
