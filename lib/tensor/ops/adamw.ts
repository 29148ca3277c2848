import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  adamw: {
    parameters: readonly Tensor[];
    gradients: readonly Tensor[];
    firstMoments: readonly Tensor[];
    secondMoments: readonly Tensor[];
    norm: Tensor;
    learningRate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    clipNorm: number;
    step: number;
  };
}

/** native/ops/adamw.h */
export const adamwOps = nativeOps<Calls>({
  adamw: noProducts,
});
