import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  fill_normal: { y: Tensor; deviation: number; seed: number };
}

/** native/ops/fill_normal.h */
export const fillNormalOps = nativeOps<Calls>({
  fill_normal: noProducts,
});
