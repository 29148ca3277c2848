import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  quantize: { y: Tensor; x: Tensor };
  dequantize: { y: Tensor; x: Tensor };
}

/** native/ops/quantize.h */
export const quantizeOps = nativeOps<Calls>({
  quantize: noProducts,
  dequantize: noProducts,
});
