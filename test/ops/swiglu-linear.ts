import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import { frozen } from '../support/frozen.js';
import { type Linear, linearShapes as shapes } from '../support/linear-shapes.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, sum, times, type Values } from '../support/reference.js';
import { activations } from '../support/reference-activations.js';

function gated(linear: Linear, activation: ops.Activation = 'silu'): Case {
  const { M = 1, N, I: C, O: F, dtypes, bias } = linear;
  return call('swiglu_linear', describe({ ...linear, activation }), (draw) => ({
    y: blank([M, N, F]),
    x: draw.normal([M, N, C]),
    gate: draw.members(M, [F, C], 1, dtypes),
    up: draw.members(M, [F, C], 1, dtypes && [...dtypes].reverse()),
    gateBias: bias && draw.members(M, [F], 1, bias),
    upBias: bias && draw.members(M, [F], 1, bias),
    activation,
  }));
}

const cases: Case[] = [
  ...(['silu', 'gelu', 'geluTanh'] as const).flatMap((activation) => shapes.map((shape) => gated(shape, activation))),
  ...[1, 3, 5, 33].map((N) =>
    gated({ N, I: 33, O: 31, M: 3, dtypes: ['f32', 'bf16', 'f16'], bias: ['bf16', 'f32', 'f16'] }),
  ),
  ...[1, 3, 5, 33].flatMap((N) =>
    [172, 256].map((I) => gated({ N, I, O: 131, M: 3, dtypes: ['int8', 'bf16', 'int4'], bias: ['f32'] })),
  ),
];

export const swigluLinear: OpTest = {
  references: {
    swiglu_linear: ({ y, x, gate, up, gateBias, upBias, activation }, r) => ({
      y: build(y.shape, (m, n, f) => {
        const product = (weight: Values, bias?: Values) => {
          const z = sum(r, x.shape[2]!, (c) => times(r, x.at(m!, n, c), weight.at(f!, c)));
          return bias ? r(z + bias.at(f!)) : z;
        };
        const g = product(gate[m!]!, gateBias?.[m!]);
        return r(activations[activation].value(r, g) * product(up[m!]!, upBias?.[m!]));
      }),
    }),
  },
  cases,
  large: [gated({ N: 1200, I: 30, O: 300, bias: ['f32'] })],
  gradients: [
    {
      op: 'swigluLinear',
      label: 'trained',
      inputs: { x: [2, 3, 4] },
      weights: { a: [5, 4], b: [5, 4], c: [5, 4], d: [5, 4], e: [5], f: [5] },
      y: (scope, { x }, { a, b, c, d, e, f }) =>
        ops.swigluLinear(scope, x!, { gate: [a!, b!], up: [c!, d!], gateBias: [e!, f!], upBias: [f!, e!] }),
    },
    {
      op: 'swigluLinear',
      label: 'geluTanh',
      inputs: { x: [2, 3, 4] },
      weights: { a: [5, 4], b: [5, 4], c: [5, 4], d: [5, 4] },
      y: (scope, { x }, { a, b, c, d }) =>
        ops.swigluLinear(scope, x!, { gate: [a!, b!], up: [c!, d!] }, { activation: 'geluTanh' }),
    },
    {
      op: 'swigluLinear',
      label: 'int8 and int4',
      inputs: { x: [2, 3, 40] },
      constants: (draw) => ({ a: draw.normal([5, 40], 0.3, 'int8'), b: draw.normal([5, 40], 0.3, 'int4') }),
      y: (scope, { x }, _, { a, b }) => {
        const both = [frozen(a!), frozen(b!)];
        return ops.swigluLinear(scope, x!, { gate: both, up: [...both].reverse() });
      },
    },
    {
      op: 'swigluLinear',
      label: 'frozen',
      inputs: { x: [2, 7, 4] },
      constants: (draw) => ({ a: draw.f32([5, 4]), b: draw.f32([5, 4]) }),
      y: (scope, { x }, _, { a, b }) => {
        const wide = [frozen(a!), frozen(b!)];
        return ops.swigluLinear(scope, x!, { gate: wide, up: [...wide].reverse() });
      },
    },
  ],
};
