import { type Maybe, nativeOps, noProducts } from '../native-ops.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  cache_append: { cache: Tensor; pages?: Maybe<Tensor>; x: Tensor; starts: Tensor };
}

/** native/ops/cache_append.h */
export const cacheAppendOps = nativeOps<Calls>({
  cache_append: noProducts,
});
