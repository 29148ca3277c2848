import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  convert: { y: Tensor; x: Tensor };
}

/** native/ops/convert.h */
export const convertOps = nativeOps<Calls>({
  convert: noProducts,
});
