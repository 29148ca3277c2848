import { type Case, call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, exact, sum, Values } from '../support/reference.js';

// Small and large arrays side by side.
const shapes = [[3, 5], [1], [0], [20000], [31]];

const cases: Case[] = [
  call('global_norm', 'several', (draw) => ({
    norm: blank([1], 'f32'),
    gradients: shapes.map((shape) => draw.f32(shape)),
  })),
  call('global_norm', 'large values', (draw) => ({ norm: blank([1], 'f32'), gradients: [draw.f32([33], 1e30)] })),
  call('global_norm', 'none', () => ({ norm: blank([1], 'f32'), gradients: [] })),
  call('global_norm', 'NaN', () => ({
    norm: blank([1], 'f32'),
    gradients: [new Values([3], Float64Array.of(1, Number.NaN, 2), 'f32')],
  })),
];

export const globalNorm: OpTest = {
  references: {
    global_norm: ({ gradients }, r) => {
      const squares = gradients.map(({ data }) => sum(exact, data.length, (i) => data[i]! ** 2));
      return { norm: Float64Array.of(r(Math.sqrt(sum(exact, squares.length, (i) => squares[i]!)))) };
    },
  },
  cases,
  large: cases,
};
