import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  add: { y: Tensor; a: Tensor; b: Tensor };
}

/** native/ops/add.h */
export const addOps = nativeOps<Calls>({
  add: noProducts,
});
