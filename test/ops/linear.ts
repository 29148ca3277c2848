import * as ops from '../../lib/tensor/ops/index.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { type Case, call, describe } from '../support/case.js';
import { adapted, frozen } from '../support/frozen.js';
import { type Linear, linearShapes as shapes } from '../support/linear-shapes.js';
import type { Differentiable, OpTest } from '../support/op-test.js';
import { type Arguments, blank, build, type Draw, type Round, sum, times, type Values } from '../support/reference.js';

/** The members' weights, of which neighbours may share one. */
function weights(draw: Draw, { M = 1, I, O, dtypes, shared }: Linear): Values[] {
  if (!shared) return draw.members(M, [O, I], 1, dtypes);
  return draw.members(shared.length, [O, I], 1, dtypes).flatMap((one, i) => new Array<Values>(shared[i]!).fill(one));
}

/** What adapters add to them. */
function adapters(draw: Draw, { M = 1, I, O, ranks, adapterDtypes: dtypes = ['f32'] }: Linear) {
  if (!ranks) return {};
  const all = Array.from({ length: M }, (_, m) => ({
    rank: ranks[m % ranks.length]!,
    dtype: dtypes[m % dtypes.length]!,
  }));
  const list = (shape: (rank: number) => number[]) =>
    all.map(({ rank, dtype }) => (rank > 0 ? draw.normal(shape(rank), 1, dtype) : undefined));
  return {
    down: list((rank) => [rank, I]),
    up: list((rank) => [O, rank]),
    scales: Float64Array.from({ length: M }, (_, m) => [2, 0.5, -1.25, 1][m % 4]!),
  };
}

type Adapters = Pick<Arguments<'linear_forward'>, 'down' | 'up' | 'scales'>;

/** What they add to a member's row of outputs, or to its gradient: from[k] by way of the ranks to `to`. */
function added({ down, up, scales }: Adapters, m: number, r: Round) {
  const [a, b, scale] = [down?.[m], up?.[m], scales?.[m] ?? 1];
  const rank = a?.shape[0] ?? 0;
  return {
    output: (x: Values, n: number, o: number) =>
      sum(r, rank, (k) =>
        times(r, r(scale * sum(r, x.shape[2]!, (i) => times(r, x.at(m, n, i), a!.at(k, i)))), b!.at(o, k)),
      ),
    input: (dy: Values, n: number, i: number) =>
      sum(r, rank, (k) =>
        times(r, r(scale * sum(r, dy.shape[2]!, (o) => times(r, dy.at(m, n, o), b!.at(o, k)))), a!.at(k, i)),
      ),
  };
}

function linearForward(linear: Linear): Case {
  const { M = 1, N, I, O, bias, residual } = linear;
  return call('linear_forward', describe(linear), (draw) => {
    const added: Values | undefined = residual && draw.normal([M, N, O]);
    return {
      y: residual === 'in place' ? added! : blank([M, N, O]),
      x: draw.normal([M, N, I]),
      weight: weights(draw, linear),
      bias: bias && draw.members(M, [O], 1, bias),
      residual: added,
      ...adapters(draw, linear),
    };
  });
}

/** A call of two members, the second with an adapter, and something wrong about that. */
function linearForwardWith(wrong: { scales?: Float64Array; up?: string }): Case {
  return call('linear_forward', describe(wrong), (draw) => ({
    y: blank([2, 1, 5]),
    x: draw.normal([2, 1, 4]),
    weight: draw.members(2, [5, 4]),
    bias: undefined,
    residual: undefined,
    down: [undefined, draw.f32([2, 4])],
    up: [undefined, draw.f32([5, wrong.up ? 3 : 2])],
    scales: wrong.scales ?? Float64Array.of(1, 1),
  }));
}

function linearBackwardInput(linear: Linear, accumulate: boolean): Case {
  const { M = 1, N, I, O } = linear;
  return call('linear_backward_input', describe({ ...linear, accumulate }), (draw) => ({
    dx: accumulate ? draw.normal([M, N, I]) : blank([M, N, I]),
    dy: draw.normal([M, N, O]),
    weight: weights(draw, linear),
    accumulate,
    ...adapters(draw, linear),
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

  // Members that share a weight, and adapters of ranks that no vector divides, beside members without.
  ...[1, 2, 3, 5, 33].flatMap((N) => [
    linearForward({ N, I: 33, O: 31, M: 4, shared: [4], residual: 'in place' }),
    linearForward({ N, I: 40, O: 31, M: 4, shared: [1, 3], ranks: [0, 3, 64, 1], bias: ['f32'] }),
    linearForward({
      N,
      I: 33,
      O: 48,
      M: 5,
      shared: [2, 1, 2],
      ranks: [0, 8, 3],
      dtypes: ['bf16', 'f32'],
      adapterDtypes: ['f16', 'bf16', 'f32'],
      residual: 'apart',
    }),
    linearBackwardInput({ N, I: 33, O: 31, M: 4, shared: [4] }, true),
    linearBackwardInput({ N, I: 40, O: 31, M: 4, shared: [1, 3], ranks: [0, 3, 64, 1] }, false),
    linearBackwardInput(
      {
        N,
        I: 48,
        O: 33,
        M: 5,
        shared: [2, 1, 2],
        ranks: [1, 0, 8],
        dtypes: ['bf16', 'f32'],
        adapterDtypes: ['bf16', 'f32'],
      },
      true,
    ),
  ]),
  linearForward({ N: 0, I: 3, O: 5, M: 2, shared: [2], ranks: [1] }),
  linearForward({ N: 2, I: 0, O: 7, M: 2, shared: [2], ranks: [0, 2] }),
  linearForward({ N: 9, I: 0, O: 7, M: 2, shared: [2], ranks: [0, 2] }),
  linearForward({ N: 3, I: 16, O: 24, M: 20, shared: [20], ranks: [0, 8] }),
  linearForward({ N: 9, I: 16, O: 24, M: 20, shared: [20], ranks: [8, 0, 2] }),

  // Matrices in 8 and 4 bits, of depths that groups divide and do not, beside others, shared, and with adapters.
  ...(['int8', 'int4'] as const).flatMap((dtype) =>
    [1, 2, 4, 5, 33].flatMap((N) => [
      ...[1, 31, 172, 256].map((I) => linearForward({ N, I, O: 35, dtypes: [dtype], bias: ['f32'] })),
      ...[33, 130].map((I) => linearBackwardInput({ N, I, O: 37, dtypes: [dtype] }, I === 33)),
    ]),
  ),
  ...[1, 3, 5, 33].flatMap((N) => [
    linearForward({ N, I: 140, O: 31, M: 4, dtypes: ['int8', 'bf16', 'int4', 'f32'], residual: 'in place' }),
    linearForward({ N, I: 140, O: 31, M: 4, shared: [1, 3], dtypes: ['int4', 'int8'], ranks: [0, 3, 64, 1] }),
    linearBackwardInput({ N, I: 140, O: 31, M: 4, shared: [3, 1], dtypes: ['int8', 'int4'], ranks: [2, 0] }, true),
  ]),
  linearForward({ N: 5, I: 900, O: 35, M: 2, dtypes: ['int4', 'int8'] }),
  linearForward({ N: 2, I: 0, O: 7, dtypes: ['int8'] }),

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
    linear_forward: ({ y, x, weight, bias, residual, ...adapters }, r) => ({
      y: build(y.shape, (m, n, o) => {
        const plain = sum(r, x.shape[2]!, (i) => times(r, x.at(m!, n, i), weight[m!]!.at(o!, i)));
        const product = r(plain + added(adapters, m!, r).output(x, n!, o!));
        const biased = bias ? r(product + bias[m!]!.at(o!)) : product;
        return residual ? r(biased + residual.at(m!, n, o)) : biased;
      }),
    }),

    linear_backward_input: ({ dx, dy, weight, accumulate, ...adapters }, r) => ({
      dx: build(dx.shape, (m, n, i) => {
        const plain = sum(r, dy.shape[2]!, (o) => times(r, dy.at(m!, n, o), weight[m!]!.at(o, i)));
        const product = r(plain + added(adapters, m!, r).input(dy, n!, i!));
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
  refused: [
    {
      case: linearForwardWith({ scales: Float64Array.of(1, Number.NaN) }),
      code: 'BAD_OPTION',
      message: /'scales\[1\]' must be finite/,
    },
    {
      case: linearForwardWith({ up: 'of another rank' }),
      code: 'BAD_SHAPE',
      message: /'up\[1\]' has shape \[5, 3\], expected \[O=5, R=2\]/,
    },
  ],
  large: [
    linearForward({ N: 300, I: 270, O: 600, bias: ['f32'], residual: 'in place' }),
    linearForward({ N: 3, I: 270, O: 1300, M: 2 }),
    linearForward({ N: 3, I: 270, O: 1300, M: 2, dtypes: ['int8', 'int4'] }),
    linearBackwardInput({ N: 300, I: 600, O: 270 }, true),
    linearForward({ N: 120, I: 270, O: 600, M: 3, shared: [3], ranks: [0, 64, 3] }),
    linearForward({ N: 1, I: 270, O: 1300, M: 4, shared: [4], ranks: [0, 64, 3] }),
    linearBackwardInput({ N: 120, I: 600, O: 270, M: 3, shared: [3], ranks: [0, 64, 3] }, false),
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
      label: 'with adapters',
      inputs: { x: [3, 7, 4], residual: [3, 7, 5] },
      constants: (draw) => ({
        w: draw.f32([5, 4]),
        a: draw.f32([2, 4]),
        b: draw.f32([5, 2]),
        c: draw.f32([1, 4]),
        d: draw.f32([5, 1]),
      }),
      y: (scope, { x, residual }, _, { w, a, b, c, d }) =>
        ops.linear(scope, x!, [frozen(w!), adapted(w!, a!, b!, 0.5), adapted(w!, c!, d!, 2)], { residual: residual! }),
    },
    ...(['int8', 'int4'] as const).map((dtype) => ({
      op: 'linear',
      label: dtype,
      inputs: { x: [2, 3, 40], residual: [2, 3, 5] },
      constants: (draw: Draw) => ({
        a: draw.normal([5, 40], 1, dtype),
        b: draw.f32([5, 40]),
        down: draw.f32([2, 40]),
        up: draw.f32([5, 2]),
      }),
      y: ((scope, { x, residual }, _, { a, b, down, up }) =>
        ops.linear(scope, x!, [adapted(a!, down!, up!, 0.5), frozen(b!)], {
          residual: residual!,
        })) satisfies Differentiable['y'],
    })),
    {
      op: 'linear',
      label: 'with trained adapters',
      inputs: { x: [3, 7, 4], residual: [3, 7, 5] },
      weights: { a: [2, 4], b: [5, 2], c: [1, 4], d: [5, 1] },
      constants: (draw) => ({ w: draw.f32([5, 4]) }),
      y: (scope, { x, residual }, { a, b, c, d }, { w }) => {
        const weight = (down: Parameter, up: Parameter, scale: number) =>
          new Parameter('adapted', w!, undefined, { down, up, scale });
        return ops.linear(scope, x!, [frozen(w!), weight(a!, b!, 0.5), weight(c!, d!, 1)], { residual: residual! });
      },
    },
    {
      op: 'linear',
      label: 'with a trained adapter of which parts are used apart',
      inputs: { x: [1, 7, 4] },
      weights: { a: [2, 4], b: [5, 2] },
      constants: (draw) => ({ w: draw.f32([5, 4]) }),
      y: (scope, { x }, { a, b }, { w }) => {
        const all = new Parameter('adapted', w!, undefined, { down: a!, up: b!, scale: -2 });
        const part = (first: number, last: number) => ops.linear(scope, x!, [all.slice(first, last)]);
        return ops.concat(scope, part(0, 2), part(2, 5), 2);
      },
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
