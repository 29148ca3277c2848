import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build } from '../support/reference.js';

const columns = (R: number, I: number, first: number, J: number): Case[] => [
  call('slice_forward', describe({ R, I, first, J }), (draw) => ({ y: blank([R, J]), x: draw.normal([R, I]), first })),
  ...[false, true].map((accumulate) =>
    call('slice_backward', describe({ R, I, first, J, accumulate }), (draw) => ({
      dx: accumulate ? draw.normal([R, I]) : blank([R, I]),
      dy: draw.normal([R, J]),
      first,
      accumulate,
    })),
  ),
];

export const slice: OpTest = {
  references: {
    slice_forward: ({ y, x, first }) => ({ y: build(y.shape, (n, j) => x.at(n!, first + j!)) }),

    slice_backward: ({ dx, dy, first, accumulate }, r) => ({
      dx: build(dx.shape, (n, i) => {
        const j = i! - first;
        const d = j >= 0 && j < dy.shape[1]! ? dy.at(n!, j) : 0;
        return accumulate ? r(dx.at(n!, i) + d) : d;
      }),
    }),
  },
  cases: [
    [1, 1, 0, 1],
    [3, 33, 0, 31],
    [3, 33, 2, 31],
    [5, 64, 16, 8],
    [5, 64, 8, 56],
    [1, 40000, 300, 20000],
    [4, 5, 5, 0],
    [0, 3, 1, 2],
  ].flatMap((size) => columns(...(size as [number, number, number, number]))),
  large: columns(300, 200, 30, 150),
  refused: [
    {
      case: call('slice_forward', 'past the end', (draw) => ({ y: blank([2, 3]), x: draw.normal([2, 4]), first: 2 })),
      code: 'BAD_SHAPE',
      message: /^slice_forward: expected columns that 'x' has/,
    },
  ],
  gradients: [0, 1, 2].map((axis) => ({
    op: 'slice',
    label: describe({ axis }),
    inputs: { x: [3, 4, 5] },
    // Two that overlap: the second adds to the gradient of the first.
    y: (scope, { x }) => ops.mul(scope, ops.slice(scope, x!, axis, 0, 2), ops.slice(scope, x!, axis, 1, 3)),
  })),
};
