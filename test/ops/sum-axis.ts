import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, sum } from '../support/reference.js';

const arrays = (L: number, M: number, R: number): Case[] =>
  [1, Math.fround(1 / 3)].flatMap((scale) => [
    call('sum_axis_forward', describe({ L, M, R, scale }), (draw) => ({
      y: blank([L, 1, R]),
      x: draw.normal([L, M, R]),
      scale,
    })),
    call('sum_axis_backward', describe({ L, M, R, scale }), (draw) => ({
      dx: blank([L, M, R]),
      dy: draw.normal([L, 1, R]),
      scale,
    })),
  ]);

const sizes: [number, number, number][] = [
  [1, 1, 1],
  [1, 3, 33],
  [5, 4, 1],
  [17, 3, 31],
  [2, 9, 64],
  [3, 5, 0],
  [0, 5, 3],
];

export const sumAxis: OpTest = {
  references: {
    sum_axis_forward: ({ y, x, scale }, r) => ({
      y: build(y.shape, (l, _, c) => r(scale * sum(r, x.shape[1]!, (m) => x.at(l!, m, c)))),
    }),

    sum_axis_backward: ({ dx, dy, scale }, r) => ({ dx: build(dx.shape, (l, _, c) => r(scale * dy.at(l!, 0, c))) }),
  },
  cases: sizes.flatMap((size) => arrays(...size)),
  large: [...arrays(40, 3, 300), ...arrays(2, 4, 5000)],
  gradients: [
    ...[0, 1, 2].map((axis) => ({
      op: 'mean',
      label: describe({ axis }),
      inputs: { x: [2, 3, 4] },
      y: (scope: Parameters<typeof ops.mean>[0], { x }: Record<string, Parameters<typeof ops.mean>[1]>) =>
        ops.mean(scope, x!, axis),
    })),
    {
      op: 'sumAxis',
      inputs: { x: [2, 3, 4] },
      y: (scope, { x }) => ops.sumAxis(scope, x!, 1, 0.3),
    },
  ],
};
