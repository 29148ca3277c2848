import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, sum, Values } from '../support/reference.js';

const arrays = (L: number, M: number, R: number, scale = 1): Case[] => [
  call('softmax_forward', describe({ L, M, R, scale }), (draw) => ({
    y: blank([L, M, R]),
    x: draw.normal([L, M, R], scale),
  })),
  call('softmax_backward', describe({ L, M, R, scale }), (draw) => ({
    dx: blank([L, M, R]),
    dy: draw.normal([L, M, R], scale),
    y: draw.normal([L, M, R]),
  })),
];

const sizes: [number, number, number][] = [
  [1, 1, 1],
  [1, 3, 33],
  [5, 4, 1],
  [17, 3, 31],
  [2, 9, 64],
  [3, 5, 0],
  [0, 5, 3],
];

const { NaN: nan } = Number;

export const softmax: OpTest = {
  references: {
    softmax_forward: ({ y, x }, r) => {
      const M = x.shape[1]!;
      return {
        y: build(y.shape, (l, m, c) => {
          const top = Math.max(...Array.from({ length: M }, (_, j) => x.at(l!, j, c)));
          const term = (j: number) => r(Math.exp(r(x.at(l!, j, c) - top)));
          return r(term(m!) / sum(r, M, term));
        }),
      };
    },

    softmax_backward: ({ dx, dy, y }, r) => ({
      dx: build(dx.shape, (l, m, c) => {
        const centre = sum(r, y.shape[1]!, (j) => r(y.at(l!, j, c) * dy.at(l!, j, c)));
        return r(y.at(l!, m!, c) * r(dy.at(l!, m!, c) - centre));
      }),
    }),
  },
  cases: [
    ...sizes.flatMap((size) => [...arrays(...size), ...arrays(...size, 20)]),
    // A number that is none spoils its own column alone.
    call('softmax_forward', 'not finite', () => ({
      y: blank([2, 2, 2]),
      x: new Values([2, 2, 2], Float64Array.of(1, 2, nan, 3, 1000, -1000, -1000, 1000)),
    })),
  ],
  large: [...arrays(40, 3, 300), ...arrays(2, 4, 5000)],
  refused: [
    {
      case: call('softmax_forward', 'over nothing', () => ({ y: blank([2, 0, 3]), x: blank([2, 0, 3]) })),
      code: 'BAD_SHAPE',
      message: /^softmax_forward: expected M to be more than zero/,
    },
  ],
  gradients: [0, 1, 2].map((axis) => ({
    op: 'softmax',
    label: describe({ axis }),
    inputs: { x: [2, 3, 4] },
    y: (scope, { x }) => ops.softmax(scope, x!, axis),
  })),
};
