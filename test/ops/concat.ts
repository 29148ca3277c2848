import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build } from '../support/reference.js';

const rows = (R: number, I: number, J: number): Case =>
  call('concat', describe({ R, I, J }), (draw) => ({
    y: blank([R, I + J]),
    a: draw.normal([R, I]),
    b: draw.normal([R, J]),
  }));

export const concat: OpTest = {
  references: {
    concat: ({ y, a, b }) => ({
      y: build(y.shape, (n, c) => (c! < a.shape[1]! ? a.at(n!, c) : b.at(n!, c! - a.shape[1]!))),
    }),
  },
  cases: [
    rows(1, 1, 1),
    rows(3, 31, 33),
    rows(5, 8, 64),
    rows(5, 64, 3),
    rows(1, 20000, 30000),
    rows(4, 0, 3),
    rows(0, 2, 3),
  ],
  large: [rows(300, 200, 100)],
  refused: [
    {
      case: call('concat', 'too short', (draw) => ({
        y: blank([2, 6]),
        a: draw.normal([2, 3]),
        b: draw.normal([2, 4]),
      })),
      code: 'BAD_SHAPE',
      message: /^concat: expected rows of 7 in 'y', got 6/,
    },
  ],
  gradients: [0, 1, 2].map((axis) => ({
    op: 'concat',
    label: describe({ axis }),
    inputs: { a: [2, 3, 4], b: [axis === 0 ? 1 : 2, axis === 1 ? 1 : 3, axis === 2 ? 1 : 4] },
    y: (scope, { a, b }) => ops.concat(scope, a!, b!, axis),
  })),
};
