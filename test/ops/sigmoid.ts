import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank, Values } from '../support/reference.js';

const elements = (n: number): Case[] => [
  call('sigmoid_forward', `n=${n}`, (draw) => ({ y: blank([n]), x: draw.normal([n], 3) })),
  call('sigmoid_backward', `n=${n}`, (draw) => ({ dx: blank([n]), dy: draw.normal([n]), y: draw.normal([n]) })),
];

const steep = Float64Array.of(Number.NaN, 2 ** 100, -(2 ** 100), 1000, -1000, 89, -89, 0, -0);

export const sigmoid: OpTest = {
  references: {
    sigmoid_forward: ({ y, x }, r) => ({ y: y.data.map((_, i) => r(1 / r(1 + r(Math.exp(-x.data[i]!))))) }),

    sigmoid_backward: ({ dx, dy, y }, r) => ({
      dx: dx.data.map((_, i) => r(r(dy.data[i]! * y.data[i]!) * r(1 - y.data[i]!))),
    }),
  },
  cases: [
    ...lengths.flatMap(elements),
    call('sigmoid_forward', 'steep', () => ({ y: blank([9]), x: new Values([9], steep) })),
  ],
  large: elements(long),
  gradients: [
    {
      op: 'sigmoid',
      inputs: { x: [2, 3, 4] },
      y: (scope, { x }) => ops.sigmoid(scope, x!),
    },
  ],
};
