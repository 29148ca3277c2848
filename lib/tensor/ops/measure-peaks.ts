import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  measure_peaks: { peaks: Tensor };
}

/** native/ops/measure_peaks.h */
export const measurePeaksOps = nativeOps<Calls>({
  measure_peaks: noProducts,
});
