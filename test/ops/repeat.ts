import * as ops from '../../lib/tensor/ops/index.js';
import type { OpTest } from '../support/op-test.js';

export const repeat: OpTest = {
  gradients: [
    {
      op: 'repeat',
      inputs: { x: [1, 3, 4] },
      y: (scope, { x }) => ops.repeat(scope, x!, 3),
    },
  ],
};
