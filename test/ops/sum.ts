import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank, exact, sum as total } from '../support/reference.js';

const elements = (n: number): Case[] => [
  call('sum_forward', `n=${n}`, (draw) => ({ y: blank([1], 'f32'), x: draw.f32([n]), scale: Math.fround(0.1) })),
  call('sum_backward', `n=${n}`, (draw) => ({ dx: blank([n], 'f32'), dy: draw.f32([1]), scale: Math.fround(0.1) })),
];

export const sum: OpTest = {
  references: {
    sum_forward: ({ x, scale }, r) => ({
      y: Float64Array.of(r(scale * total(exact, x.data.length, (i) => x.data[i]!))),
    }),

    sum_backward: ({ dx, dy, scale }, r) => ({ dx: dx.data.map(() => r(scale * dy.at(0))) }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
  gradients: [
    {
      op: 'sum',
      inputs: { x: [7] },
      y: (scope, { x }) => ops.sum(scope, x!, 0.3),
    },
  ],
};
