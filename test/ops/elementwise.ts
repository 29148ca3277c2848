import type { DType } from '../../lib/addon.js';
import { blank, integers, Values } from '../support/reference.js';
import { type Case, call } from '../support/reference-case.js';

const f = Math.fround;

export const elements = (n: number): Case[] => [
  call('fill', `n=${n}`, () => ({ y: blank([n]), value: f(-2.7) })),
  ...[7, 2 ** 45 + 3].map((seed) =>
    call('fill_normal', `n=${n} seed=${seed}`, () => ({ y: blank([n]), deviation: f(0.02), seed })),
  ),
  call('add', `n=${n}`, (draw) => ({ y: blank([n]), a: draw.normal([n]), b: draw.normal([n]) })),
  call('add', `n=${n} in place`, (draw) => {
    const a = draw.normal([n]);
    return { y: a, a, b: draw.normal([n]) };
  }),
  ...[1, 30].map((cap) =>
    call('softcap', `n=${n} cap=${cap}`, (draw) => ({ y: blank([n]), x: draw.normal([n], 5), cap })),
  ),
  call('softcap', `n=${n} in place`, (draw) => {
    const x = draw.normal([n]);
    return { y: x, x, cap: 2 };
  }),
  ...[0, 0.5, f(0.9)].map((rate) =>
    call('dropout', `n=${n} rate=${rate}`, (draw) => ({ y: blank([n]), x: draw.normal([n]), rate, seed: 2 ** 50 + 9 })),
  ),
  call('sum_forward', `n=${n}`, (draw) => ({ y: blank([1]), x: draw.normal([n]), scale: f(0.1) })),
  call('sum_backward', `n=${n}`, (draw) => ({ dx: blank([n]), dy: draw.normal([1]), scale: f(0.1) })),
];

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
  .concat([f(3.4e38), f(3.3961775e38), Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]);

const extremes = (['f16', 'bf16'] as const).map((to) =>
  call('convert', `edges of ${to}`, () => ({
    y: blank([edges.length], to),
    x: new Values([edges.length], Float64Array.from(edges)),
  })),
);

const gathers = [1, 3, 33, 123].map((C) =>
  call('gather_rows', `C=${C}`, (draw) => ({
    y: blank([4, C]),
    x: draw.normal([7, C]),
    rows: integers([6, 0, 3, 3]),
  })),
);

export const elementwise: Case[] = [
  // Longer ones than 16384 are cut into chunks for the threads.
  ...[0, 1, 3, 31, 33, 123, 16385, 40000].flatMap(elements),
  ...conversions,
  ...extremes,
  ...gathers,
  call('gather_rows', 'R=0', (draw) => ({ y: blank([0, 3]), x: draw.normal([7, 3]), rows: integers([]) })),
];
