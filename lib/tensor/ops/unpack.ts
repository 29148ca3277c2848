import { nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  unpack: {
    y: Tensor;
    codes: Tensor;
    scales: Tensor;
    zeros: Tensor;
    groups: Tensor;
    layout: 'inputs' | 'outputs' | 'rows' | 'bytes';
    bits: '4' | '8';
  };
}

/** native/ops/unpack.h */
export const unpackOps = nativeOps<Calls>({
  unpack: noProducts,
});
