import type { DType } from '../../lib/tensor/addon.js';
import { call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, Values } from '../support/reference.js';
import { narrow } from '../support/reference-halves.js';

const floats: DType[] = ['f32', 'f16', 'bf16'];
const conversions = floats.flatMap((from) =>
  floats.flatMap((to) =>
    [0, 3, 123, 16385].map((n) =>
      // Small enough that many round to subnormal f16.
      call('convert', `${from} to ${to} n=${n}`, (draw) => ({
        y: blank([n], to),
        x: draw.normal([n], n % 2 ? 1e-5 : 1, from),
      })),
    ),
  ),
);

// What is nearest to a number between two of the type, at the ends of its range and where both are as near.
const edges = [0, -0, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 65504, 65519, 65520, -65520]
  .concat([2 ** -24, 2 ** -25, 3 * 2 ** -26, 2 ** -14 - 2 ** -26, 2 ** -133, 2 ** -134, 3 * 2 ** -135])
  .concat([
    Math.fround(3.4e38),
    Math.fround(3.3961775e38),
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
  ]);

const extremes = (['f16', 'bf16'] as const).map((to) =>
  call('convert', `edges of ${to}`, () => ({
    y: blank([edges.length], to),
    x: new Values([edges.length], Float64Array.from(edges), 'f32'),
  })),
);

export const convert: OpTest = {
  references: {
    convert: ({ y, x }) => ({ y: x.data.map((value) => narrow(value, y.dtype)) }),
  },
  cases: [...conversions, ...extremes],
};
