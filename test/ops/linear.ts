import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import { frozen } from '../support/frozen.js';
import { type Linear, linearShapes as shapes } from '../support/linear-shapes.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, sum, times, type Values } from '../support/reference.js';

function linearForward(linear: Linear): Case {
  const { M = 1, N, I, O, dtypes, bias, residual } = linear;
  return call('linear_forward', describe(linear), (draw) => {
    const added: Values | undefined = residual && draw.normal([M, N, O]);
    return {
      y: residual === 'in place' ? added! : blank([M, N, O]),
      x: draw.normal([M, N, I]),
      weight: draw.members(M, [O, I], 1, dtypes),
      bias: bias && draw.members(M, [O], 1, bias),
      residual: added,
    };
  });
}

function linearBackwardInput(linear: Linear, accumulate: boolean): Case {
  const { M = 1, N, I, O, dtypes } = linear;
  return call('linear_backward_input', describe({ ...linear, accumulate }), (draw) => ({
    dx: accumulate ? draw.normal([M, N, I]) : blank([M, N, I]),
    dy: draw.normal([M, N, O]),
    weight: draw.members(M, [O, I], 1, dtypes),
    accumulate,
  }));
}

function linearBackwardWeight(linear: Linear, withBias: boolean): Case {
  const { M = 1, N, I, O } = linear;
  return call('linear_backward_weight', describe({ ...linear, withBias }), (draw) => ({
    dweight: draw.members(M, [O, I]),
    dbias: withBias ? draw.members(M, [O]) : undefined,
    dy: draw.normal([M, N, O]),
    x: draw.normal([M, N, I]),
  }));
}

const cases: Case[] = [
  ...shapes.map(linearForward),
  ...shapes.flatMap((shape) => [false, true].map((accumulate) => linearBackwardInput(shape, accumulate))),
  ...shapes.flatMap((shape) => [false, true].map((withBias) => linearBackwardWeight(shape, withBias))),

  ...(['f16', 'bf16'] as const).flatMap((dtype) =>
    [1, 4, 5, 33].flatMap((N) => [
      linearForward({ N, I: 37, O: 35, dtypes: [dtype], bias: [dtype] }),
      linearBackwardInput({ N, I: 37, O: 35, dtypes: [dtype] }, true),
    ]),
  ),
  ...[1, 3, 5, 33].flatMap((N) => [
    linearForward({ N, I: 33, O: 31, M: 3, dtypes: ['f32', 'bf16', 'f16'], bias: ['bf16', 'f32', 'f16'] }),
    linearForward({ N, I: 33, O: 31, M: 2, residual: 'apart' }),
    linearForward({ N, I: 33, O: 31, M: 2, residual: 'in place' }),
    linearForward({ N, I: 33, O: 31, M: 2, bias: ['f32'], residual: 'in place' }),
    linearBackwardInput({ N, I: 33, O: 31, M: 3, dtypes: ['f16', 'f32', 'bf16'] }, false),
  ]),

  // Past the blocks of depth, rows and columns that one task computes.
  linearForward({ N: 283, I: 5, O: 37, bias: ['f32'], residual: 'in place' }),
  linearForward({ N: 7, I: 521, O: 35, bias: ['f32'], residual: 'in place' }),
  linearForward({ N: 7, I: 31, O: 519, bias: ['f32'], residual: 'in place' }),
  linearForward({ N: 2, I: 261, O: 259, bias: ['f32'], residual: 'apart' }),
  linearBackwardInput({ N: 85, I: 259, O: 33 }, true),
  linearBackwardInput({ N: 5, I: 33, O: 515 }, true),
  linearBackwardWeight({ N: 515, I: 33, O: 35 }, true),
  linearBackwardWeight({ N: 9, I: 67, O: 285 }, false),

  // Sums over nothing.
  linearForward({ N: 0, I: 3, O: 5, M: 2 }),
  linearForward({ N: 5, I: 0, O: 7, bias: ['f32'] }),
  linearForward({ N: 2, I: 0, O: 7 }),
  linearBackwardInput({ N: 5, I: 3, O: 0 }, false),
  linearBackwardInput({ N: 0, I: 3, O: 2 }, true),
  linearBackwardWeight({ N: 0, I: 3, O: 5 }, true),
];

export const linear: OpTest = {
  references: {
    linear_forward: ({ y, x, weight, bias, residual }, r) => ({
      y: build(y.shape, (m, n, o) => {
        const product = sum(r, x.shape[2]!, (i) => times(r, x.at(m!, n, i), weight[m!]!.at(o!, i)));
        const biased = bias ? r(product + bias[m!]!.at(o!)) : product;
        return residual ? r(biased + residual.at(m!, n, o)) : biased;
      }),
    }),

    linear_backward_input: ({ dx, dy, weight, accumulate }, r) => ({
      dx: build(dx.shape, (m, n, i) => {
        const product = sum(r, dy.shape[2]!, (o) => times(r, dy.at(m!, n, o), weight[m!]!.at(o, i)));
        return accumulate ? r(dx.at(m!, n, i) + product) : product;
      }),
    }),

    linear_backward_weight: ({ dweight, dbias, dy, x }, r) => {
      const N = x.shape[1]!;
      return {
        dweight: dweight.map((dw, m) =>
          build(dw.shape, (o, i) => r(dw.at(o!, i) + sum(r, N, (n) => times(r, dy.at(m, n, o), x.at(m, n, i))))),
        ),
        ...(dbias && {
          dbias: dbias.map((db, m) => build(db.shape, (o) => r(db.at(o!) + sum(r, N, (n) => dy.at(m, n, o))))),
        }),
      };
    },
  },
  cases,
  large: [
    linearForward({ N: 300, I: 270, O: 600, bias: ['f32'], residual: 'in place' }),
    linearForward({ N: 3, I: 270, O: 1300, M: 2 }),
    linearBackwardInput({ N: 300, I: 600, O: 270 }, true),
    linearBackwardWeight({ N: 270, I: 600, O: 300 }, true),
  ],
  gradients: [
    {
      op: 'linear',
      label: 'trained',
      inputs: { x: [2, 3, 4], residual: [2, 3, 5] },
      weights: { a: [5, 4], b: [5, 4], c: [5], d: [5] },
      y: (scope, { x, residual }, { a, b, c, d }) =>
        ops.linear(scope, x!, [a!, b!], { bias: [c!, d!], residual: residual! }),
    },
    {
      op: 'linear',
      label: 'of low rank',
      inputs: { x: [1, 3, 4] },
      weights: { down: [2, 4], up: [5, 2] },
      y: (scope, { x }, { down, up }) => ops.linear(scope, ops.linear(scope, x!, [down!]), [up!]),
    },
    {
      op: 'linear',
      label: 'frozen, many rows',
      inputs: { x: [2, 7, 4], residual: [2, 7, 5] },
      constants: (draw) => ({ a: draw.f32([5, 4]), b: draw.f32([5, 4]) }),
      y: (scope, { x, residual }, _, { a, b }) =>
        ops.linear(scope, x!, [frozen(a!), frozen(b!)], { residual: residual! }),
    },
  ],
};
