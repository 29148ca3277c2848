import { nativeOps, noProducts } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  gather_rows: { y: Tensor; x: Tensor; rows: Tensor };
}

/** native/ops/gather_rows.h */
export const gatherRowsOps = nativeOps<Calls>({
  gather_rows: noProducts,
});

/** Rows of x [N, C] by index [R]: [R, C]. Without a gradient: for inference. */
export function gatherRows(scope: Scope, x: Tensor, rows: Tensor): Tensor {
  const y = scope.empty([rows.size, x.shape[1]!]);
  scope.device.run('gather_rows', { y, x, rows });
  return y;
}
