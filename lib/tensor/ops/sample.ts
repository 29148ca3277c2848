import { type Maybe, nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  /** `draws` has six numbers a row: temperature, top-k, top-p, min-p, repetition penalty, the random number. */
  sample: { ids: Tensor; logits: Tensor; seen: Maybe<Tensor>; draws: Float64Array };
}

/** native/ops/sample.h */
export const sampleOps = nativeOps<Calls>({
  sample: noProducts,
});
