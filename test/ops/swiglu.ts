import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, Values } from '../support/reference.js';
import { activations } from '../support/reference-activations.js';

const kinds = ['silu', 'gelu', 'geluTanh'] as const;

function gated(N: number, F: number, scale = 1, activation: ops.Activation = 'silu'): Case[] {
  const label = `N=${N} F=${F} scale=${scale} ${activation}`;
  return [
    call('swiglu_forward', label, (draw) => ({
      y: blank([2, N, F]),
      gate: draw.normal([2, N, F], scale),
      up: draw.normal([2, N, F]),
      activation,
    })),
    call('swiglu_backward', label, (draw) => ({
      dgate: blank([2, N, F]),
      dup: blank([2, N, F]),
      dy: draw.normal([2, N, F]),
      gate: draw.normal([2, N, F], scale),
      up: draw.normal([2, N, F]),
      activation,
    })),
  ];
}

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const steep = Float64Array.of(nan, infinity, -infinity, 1000, -1000, 89, -89, 0, -0);

// What is not finite stays in its row, and is not lost there: training stops on it.
const notFinite: Case[] = [
  call('swiglu_forward', 'not finite', (draw) => ({
    y: blank([1, 1, 9]),
    gate: new Values([1, 1, 9], steep),
    up: draw.normal([1, 1, 9]),
    activation: 'silu' as const,
  })),
  call('swiglu_backward', 'not finite', (draw) => ({
    dgate: blank([1, 1, 9]),
    dup: blank([1, 1, 9]),
    dy: draw.normal([1, 1, 9]),
    gate: new Values([1, 1, 9], steep),
    up: draw.normal([1, 1, 9]),
    activation: 'silu' as const,
  })),
];

export const swiglu: OpTest = {
  references: {
    swiglu_forward: ({ y, gate, up, activation }, r) => ({
      y: build(y.shape, (m, n, f) => r(activations[activation].value(r, gate.at(m!, n, f)) * up.at(m!, n, f))),
    }),

    swiglu_backward: ({ dgate, dup, dy, gate, up, activation }, r) => ({
      dgate: build(dgate.shape, (m, n, f) => {
        const slope = activations[activation].slope(r, gate.at(m!, n, f));
        return r(r(dy.at(m!, n, f) * up.at(m!, n, f)) * slope);
      }),
      dup: build(dup.shape, (m, n, f) => r(dy.at(m!, n, f) * activations[activation].value(r, gate.at(m!, n, f)))),
    }),
  },
  cases: [
    ...kinds.flatMap((activation) =>
      [1, 3, 31, 33, 64, 123].flatMap((F) => [...gated(3, F, 1, activation), ...gated(3, F, 30, activation)]),
    ),
    ...gated(0, 3),
    ...notFinite,
  ],
  large: gated(300, 200),
  gradients: kinds.map((activation) => ({
    op: 'swiglu',
    label: activation,
    inputs: { gate: [2, 3, 4], up: [2, 3, 4] },
    y: (scope, { gate, up }) => ops.swiglu(scope, gate!, up!, { activation }),
  })),
};
