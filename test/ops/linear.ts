import type { Activation, DType } from '../../lib/addon.js';
import { blank, type Values } from '../support/reference.js';
import { type Case, call, describe } from '../support/reference-case.js';

interface Linear {
  M?: number;
  N: number;
  I: number;
  O: number;
  /** Element types of the members' weights, in turn. */
  dtypes?: DType[];
  bias?: DType[];
  residual?: 'apart' | 'in place';
}

export function linearForward(linear: Linear): Case {
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

export function linearBackwardInput(linear: Linear, accumulate: boolean): Case {
  const { M = 1, N, I, O, dtypes } = linear;
  return call('linear_backward_input', describe({ ...linear, accumulate }), (draw) => ({
    dx: accumulate ? draw.normal([M, N, I]) : blank([M, N, I]),
    dy: draw.normal([M, N, O]),
    weight: draw.members(M, [O, I], 1, dtypes),
    accumulate,
  }));
}

export function linearBackwardWeight(linear: Linear, withBias: boolean): Case {
  const { M = 1, N, I, O } = linear;
  return call('linear_backward_weight', describe({ ...linear, withBias }), (draw) => ({
    dweight: draw.members(M, [O, I]),
    dbias: withBias ? draw.members(M, [O]) : undefined,
    dy: draw.normal([M, N, O]),
    x: draw.normal([M, N, I]),
  }));
}

export function swigluLinear(linear: Linear, activation: Activation = 'silu'): Case {
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

// Up to four rows stream over the weights; more are multiplied in tiles.
const shapes: Linear[] = [
  { N: 1, I: 1, O: 1 },
  { N: 1, I: 33, O: 31 },
  { N: 2, I: 64, O: 3, M: 2 },
  { N: 3, I: 31, O: 33, M: 3 },
  { N: 4, I: 123, O: 130 },
  { N: 5, I: 3, O: 1, M: 2 },
  { N: 5, I: 33, O: 31, M: 5 },
  { N: 31, I: 64, O: 123 },
  { N: 33, I: 123, O: 33, M: 2 },
  { N: 123, I: 31, O: 31 },
];

export const linear: Case[] = [
  ...shapes.map(linearForward),
  ...(['silu', 'gelu', 'geluTanh'] as const).flatMap((activation) =>
    shapes.map((shape) => swigluLinear(shape, activation)),
  ),
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
    swigluLinear({ N, I: 33, O: 31, M: 3, dtypes: ['f32', 'bf16', 'f16'], bias: ['bf16', 'f32', 'f16'] }),
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
