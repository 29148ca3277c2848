import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  dropout: { y: Tensor; x: Tensor; rate: number; seed: number };
}

/** native/ops/dropout.h */
export const dropoutOps = nativeOps<Calls>({
  dropout: noProducts,
});
