import * as ops from '../../lib/tensor/ops/index.js';
import { call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build } from '../support/reference.js';

const swapped = (I: number, J: number, C: number) =>
  call('swap_axes', describe({ I, J, C }), (draw) => ({ y: blank([J, I, C]), x: draw.normal([I, J, C]) }));

export const swapAxes: OpTest = {
  references: {
    swap_axes: ({ y, x }) => ({ y: build(y.shape, (j, i, c) => x.at(i!, j!, c)) }),
  },
  cases: [
    swapped(1, 1, 1),
    swapped(3, 5, 31),
    swapped(17, 4, 64),
    swapped(33, 2, 1),
    swapped(0, 3, 2),
    swapped(2, 3, 0),
  ],
  large: [swapped(100, 30, 40)],
  gradients: [
    {
      op: 'swapAxes',
      inputs: { x: [2, 3, 4] },
      y: (scope, { x }) => ops.swapAxes(scope, x!),
    },
  ],
};
