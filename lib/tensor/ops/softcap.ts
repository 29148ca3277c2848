import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  softcap: { y: Tensor; x: Tensor; cap: number };
}

/** native/ops/softcap.h */
export const softcapOps = nativeOps<Calls>({
  softcap: noProducts,
});

/** c tanh(x / c) in the place of x, whose gradient stays what it was: see crossEntropy. */
export function softcapInPlace(scope: Scope, x: Tensor, cap: number): void {
  scope.device.run('softcap', { y: x, x, cap });
}
