import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, type Round, Values } from '../support/reference.js';

const sigmoid = (r: Round, x: number) => r(1 / r(1 + r(Math.exp(-x))));

const activations = (N: number, F: number, scale = 1): Case[] => [
  call('swiglu_forward', `N=${N} F=${F} scale=${scale}`, (draw) => ({
    y: blank([2, N, F]),
    gate: draw.normal([2, N, F], scale),
    up: draw.normal([2, N, F]),
  })),
  call('swiglu_backward', `N=${N} F=${F} scale=${scale}`, (draw) => ({
    dgate: blank([2, N, F]),
    dup: blank([2, N, F]),
    dy: draw.normal([2, N, F]),
    gate: draw.normal([2, N, F], scale),
    up: draw.normal([2, N, F]),
  })),
];

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const steep = Float64Array.of(nan, infinity, -infinity, 1000, -1000, 89, -89, 0, -0);

// What is not finite stays in its row, and is not lost there: training stops on it.
const notFinite: Case[] = [
  call('swiglu_forward', 'not finite', (draw) => ({
    y: blank([1, 1, 9]),
    gate: new Values([1, 1, 9], steep),
    up: draw.normal([1, 1, 9]),
  })),
  call('swiglu_backward', 'not finite', (draw) => ({
    dgate: blank([1, 1, 9]),
    dup: blank([1, 1, 9]),
    dy: draw.normal([1, 1, 9]),
    gate: new Values([1, 1, 9], steep),
    up: draw.normal([1, 1, 9]),
  })),
];

export const swiglu: OpTest = {
  references: {
    swiglu_forward: ({ y, gate, up }, r) => ({
      y: build(y.shape, (m, n, f) => {
        const x = gate.at(m!, n, f);
        return r(r(x / r(1 + r(Math.exp(-x)))) * up.at(m!, n, f));
      }),
    }),

    swiglu_backward: ({ dgate, dup, dy, gate, up }, r) => ({
      dgate: build(dgate.shape, (m, n, f) => {
        const x = gate.at(m!, n, f);
        const s = sigmoid(r, x);
        const slope = r(s + r(x * r(s * r(1 - s)))); // of x * sigmoid(x)
        return r(r(dy.at(m!, n, f) * up.at(m!, n, f)) * slope);
      }),
      dup: build(dup.shape, (m, n, f) => {
        const x = gate.at(m!, n, f);
        return r(dy.at(m!, n, f) * r(x * sigmoid(r, x)));
      }),
    }),
  },
  cases: [
    ...[1, 3, 31, 33, 64, 123].flatMap((F) => [...activations(3, F), ...activations(3, F, 30)]),
    ...activations(0, 3),
    ...notFinite,
  ],
  large: activations(300, 200),
  gradients: [
    {
      op: 'swiglu',
      inputs: { gate: [2, 3, 4], up: [2, 3, 4] },
      y: (scope, { gate, up }) => ops.swiglu(scope, gate!, up!),
    },
  ],
};
