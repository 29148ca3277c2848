import type { DType } from '../../lib/tensor/addon.js';
import * as ops from '../../lib/tensor/ops/index.js';
import { altered } from '../support/altered.js';
import { type Case, call } from '../support/case.js';
import { frozen } from '../support/frozen.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, evaluate, type Round, sum, type Values } from '../support/reference.js';

type Sizes = [number, number, number];

const mixed: DType[] = ['f32', 'bf16', 'f16'];

/** 1 / sqrt(mean(x^2) + epsilon) over the channels: [M, N]. */
function inverseRms(r: Round, x: Values, epsilon: number): Values {
  const [M, N, C] = x.shape as Sizes;
  return evaluate([M, N], (m, n) => {
    const squares = sum(r, C, (c) => r(x.at(m!, n, c) * x.at(m!, n, c)));
    return r(1 / r(Math.sqrt(r(r(squares / C) + epsilon))));
  });
}

interface Norm {
  /** Of the input. */
  scale?: number;
  offset?: number;
  residual?: boolean;
}

function norms(M: number, N: number, C: number, norm: Norm = {}): Case[] {
  const { scale = 1, offset = 0, residual = false } = norm;
  const label = `M=${M} N=${N} C=${C} scale=${scale}${offset || residual ? ` offset=${offset} residual=${residual}` : ''}`;
  const epsilon = Math.fround(1e-5);
  return [
    call('rms_norm_forward', label, (draw) => ({
      y: blank([M, N, C]),
      x: draw.normal([M, N, C], scale),
      weight: draw.members(M, [C], 1, mixed),
      residual: residual ? draw.normal([M, N, C]) : undefined,
      epsilon,
      offset,
    })),
    ...[false, true].map((accumulate) =>
      call('rms_norm_backward_input', `${label} accumulate=${accumulate}`, (draw) => ({
        dx: accumulate ? draw.normal([M, N, C]) : blank([M, N, C]),
        dy: draw.normal([M, N, C]),
        x: draw.normal([M, N, C], scale),
        weight: draw.members(M, [C], 1, mixed),
        epsilon,
        offset,
        accumulate,
      })),
    ),
    // Which neither of the two changes.
    ...(offset || residual
      ? []
      : [
          call('rms_norm_backward_weight', label, (draw) => ({
            dweight: draw.members(M, [C]),
            dy: draw.normal([M, N, C]),
            x: draw.normal([M, N, C], scale),
            epsilon,
          })),
        ]),
  ];
}

/** [M, N, C] */
const sizes: [number, number, number][] = [
  [1, 1, 33],
  [2, 3, 31],
  [3, 33, 3],
  [5, 31, 64],
  [1, 123, 123],
  [1, 200, 1],
  // Rows of several warps, and such as registers do not hold.
  [2, 3, 1288],
  [1, 2, 1031],
  [2, 0, 3],
];

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

// What is not finite stays in its row, and is not lost there: training stops on it.
const notFinite: Case[] = [
  call('rms_norm_forward', 'not finite', (draw) => ({
    y: blank([1, 3, 33]),
    x: altered(draw.normal([1, 3, 33]), { 5: nan, 98: infinity }),
    weight: draw.members(1, [33]),
    residual: undefined,
    epsilon: 1e-5,
    offset: 0,
  })),
  call('rms_norm_backward_input', 'not finite', (draw) => ({
    dx: blank([1, 3, 33]),
    dy: altered(draw.normal([1, 3, 33]), { 98: nan }),
    x: draw.normal([1, 3, 33]),
    weight: draw.members(1, [33]),
    epsilon: 1e-5,
    offset: 0,
    accumulate: false,
  })),
];

export const rmsNorm: OpTest = {
  references: {
    rms_norm_forward: ({ y, x, weight, residual, epsilon, offset }, r) => {
      const inverse = inverseRms(r, x, epsilon);
      return {
        y: build(y.shape, (m, n, c) => {
          const normed = r(r(x.at(m!, n, c) * inverse.at(m!, n)) * r(offset + weight[m!]!.at(c!)));
          return residual ? r(normed + residual.at(m!, n, c)) : normed;
        }),
      };
    },

    rms_norm_backward_input: ({ dx, dy, x, weight, epsilon, offset, accumulate }, r) => {
      const [M, N, C] = x.shape as Sizes;
      const inverse = inverseRms(r, x, epsilon);
      const scaled = (m: number, n: number, c: number) => r(dy.at(m, n, c) * r(offset + weight[m]!.at(c)));
      const mean = evaluate([M, N], (m, n) => r(sum(r, C, (c) => r(scaled(m!, n!, c) * x.at(m!, n, c))) / C));
      return {
        dx: build(dx.shape, (m, n, c) => {
          const factor = inverse.at(m!, n);
          const along = r(r(x.at(m!, n, c) * r(factor * factor)) * mean.at(m!, n));
          const result = r(factor * r(scaled(m!, n!, c!) - along));
          return accumulate ? r(dx.at(m!, n, c) + result) : result;
        }),
      };
    },

    rms_norm_backward_weight: ({ dweight, dy, x, epsilon }, r) => {
      const inverse = inverseRms(r, x, epsilon);
      return {
        dweight: dweight.map((dw, m) =>
          build(dw.shape, (c) =>
            r(dw.at(c!) + sum(r, x.shape[1]!, (n) => r(r(dy.at(m, n, c) * x.at(m, n, c)) * inverse.at(m, n)))),
          ),
        ),
      };
    },
  },
  cases: [
    ...sizes.flatMap((size) => [
      ...norms(...size),
      ...norms(...size, { scale: 1e-3 }),
      ...norms(...size, { offset: 1 }),
      ...norms(...size, { offset: 1, residual: true }),
    ]),
    ...notFinite,
  ],
  large: norms(3, 500, 80),
  gradients: [
    {
      op: 'rmsNorm',
      label: 'trained',
      inputs: { x: [2, 3, 4] },
      weights: { a: [4], b: [4] },
      y: (scope, { x }, { a, b }) => ops.rmsNorm(scope, x!, [a!, b!], { epsilon: 1e-5 }),
    },
    {
      op: 'rmsNorm',
      label: 'frozen',
      inputs: { x: [2, 3, 4] },
      constants: (draw) => ({ a: draw.f32([4]), b: draw.f32([4]) }),
      y: (scope, { x }, _, { a, b }) => ops.rmsNorm(scope, x!, [frozen(a!), frozen(b!)], { epsilon: 1e-5 }),
    },
    {
      op: 'rmsNorm',
      label: 'with an offset, added to a residual',
      inputs: { x: [2, 3, 4], residual: [2, 3, 4] },
      weights: { a: [4], b: [4] },
      y: (scope, { x, residual }, { a, b }) =>
        ops.rmsNorm(scope, x!, [a!, b!], { epsilon: 1e-5, offset: 1, residual: residual! }),
    },
  ],
};
