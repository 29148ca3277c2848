import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

/** Copies of x [1, N, C] for as many members: [M, N, C]. The gradients of all copies add up in x. */
export function repeat(scope: Scope, x: Tensor, members: number): Tensor {
  const { device } = scope;
  const [, rows, width] = x.shape as [number, number, number];
  const y = scope.empty([members, rows, width], x.node !== undefined);
  for (let m = 0; m < members; m++) {
    using copy = y.slice(m);
    device.run('convert', { y: copy, x });
  }
  if (y.node) {
    const end = x.withNode(x.node);
    scope.tape!.record(y, [], (dy, _, known) => {
      for (let m = 0; m < members; m++) {
        using dx = dy.slice(m);
        known.give(end, dx);
      }
    });
  }
  return y;
}
