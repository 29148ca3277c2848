import { nativeOps, noProducts } from '../native-ops.js';
import { gradients, type Parameter, trained, values } from '../parameter.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Calls {
  embedding_forward: { y: Tensor; table: readonly Tensor[]; ids: Tensor; scale: number };
  embedding_backward: { dtable: readonly Tensor[]; dy: Tensor; ids: Tensor; scale: number };
}

/** native/ops/embedding.h */
export const embeddingOps = nativeOps<Calls>({
  embedding_forward: noProducts,
  embedding_backward: noProducts,
});

/** Rows of the embedding tables times `scale`, rounded as activations are: [M, N, C], for ids [N]. */
export function embedding(scope: Scope, table: readonly Parameter[], ids: Tensor, scale = 1): Tensor {
  const y = scope.empty([table.length, ids.size, table[0]!.value.shape[1]!], trained(table));
  scope.device.run('embedding_forward', { y, table: values(table), ids, scale });
  if (y.node) {
    scope.tape!.record(y, [ids], (dy, [ids], known) => {
      const dtable = gradients(table);
      scope.device.run('embedding_backward', { dtable, dy, ids: ids!, scale });
      known.added(...dtable);
    });
  }
  return y;
}
