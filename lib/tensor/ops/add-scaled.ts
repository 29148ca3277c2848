import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  add_scaled: { y: Tensor; x: Tensor; scale: number };
}

/** native/ops/add_scaled.h */
export const addScaledOps = nativeOps<Calls>({ add_scaled: noProducts });
