import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  fill: { y: Tensor; value: number };
}

/** native/ops/fill.h */
export const fillOps = nativeOps<Calls>({
  fill: noProducts,
});
