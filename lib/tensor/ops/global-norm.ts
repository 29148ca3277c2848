import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  global_norm: { norm: Tensor; gradients: readonly Tensor[] };
}

/** native/ops/global_norm.h */
export const globalNormOps = nativeOps<Calls>({
  global_norm: noProducts,
});
