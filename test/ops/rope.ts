import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, type Draw, integers, Values } from '../support/reference.js';

/** Cosines, then sines, of random angles: [P, R]. */
function rotations(draw: Draw, positions: number, width: number): Values {
  const half = width / 2;
  const angles = draw.normal([positions, half], 3);
  const data = Float64Array.from({ length: positions * width }, (_, i) => {
    const [p, d] = [Math.floor(i / width), i % width];
    return Math.fround(d < half ? Math.cos(angles.at(p, d)) : Math.sin(angles.at(p, d - half)));
  });
  return new Values([positions, width], data, 'f32');
}

interface Rope {
  /** [M, B, T, H, D] */
  shape: number[];
  inverse: boolean;
  /** Of D channels how many are turned; default all. */
  width?: number;
  starts?: number[];
  inPlace?: boolean;
}

function turned(turn: Rope): Case {
  const { shape, inverse, starts, inPlace } = turn;
  const [members = 0] = shape;
  const { width = shape[4]! } = turn;
  return call('rope', describe(turn), (draw) => {
    const x = draw.normal(shape);
    return {
      y: inPlace ? x : blank(shape),
      x,
      table: Array.from({ length: members }, () => rotations(draw, 45, width)),
      starts: starts && integers(starts),
      inverse,
    };
  });
}

const fault = (T: number, starts?: number[]) =>
  call('rope', `T=${T} starts=${starts}`, (draw) => {
    const B = starts?.length ?? 1;
    return {
      y: blank([1, B, T, 2, 4]),
      x: draw.normal([1, B, T, 2, 4]),
      table: [draw.f32([6, 4])],
      starts: starts && integers(starts),
      inverse: false,
    };
  });

export const rope: OpTest = {
  references: {
    rope: ({ y, x, table, starts, inverse }, r) => {
      const half = table[0]!.shape[1]! / 2;
      return {
        y: build(y.shape, (m, b, t, h, d) => {
          if (d! >= 2 * half) return x.at(m!, b, t, h, d);
          const position = (starts?.at(b!) ?? 0) + t!;
          const pair = d! % half;
          const cosine = table[m!]!.at(position, pair);
          const sine = (inverse ? -1 : 1) * table[m!]!.at(position, half + pair);
          const [low, high] = [x.at(m!, b, t, h, pair), x.at(m!, b, t, h, half + pair)];
          return d! < half ? r(r(low * cosine) - r(high * sine)) : r(r(high * cosine) + r(low * sine));
        }),
      };
    },
  },
  cases: [
    ...[2, 6, 16, 64, 80].flatMap((D) =>
      [false, true].flatMap((inverse) => [
        turned({ shape: [2, 3, 5, 3, D], inverse }),
        turned({ shape: [2, 3, 5, 3, D], inverse, starts: [0, 40, 7], inPlace: true }),
      ]),
    ),
    // Heads that are turned in part.
    ...[2, 4, 24, 62].flatMap((width) =>
      [false, true].flatMap((inverse) => [
        turned({ shape: [2, 3, 5, 3, 64], inverse, width }),
        turned({ shape: [2, 3, 5, 3, 64], inverse, width, starts: [0, 40, 7], inPlace: true }),
      ]),
    ),
    turned({ shape: [1, 2, 0, 3, 4], inverse: false }),
  ],
  large: [turned({ shape: [3, 2, 40, 8, 80], inverse: false })],
  faults: [
    { case: fault(7), code: 'BAD_SHAPE', message: /^rope: sequence 0 has 7 tokens from position 0/ },
    { case: fault(3, [3, 4]), code: 'BAD_SHAPE', message: /^rope: sequence 1 has 3 tokens from position 4/ },
    { case: fault(3, [-1]), code: 'BAD_SHAPE', message: /^rope: sequence 0 has 3 tokens from position -1/ },
  ],
  gradients: [
    {
      op: 'rope',
      inputs: { x: [2, 2, 3, 2, 4] },
      constants: (draw) => ({ a: draw.f32([9, 4]), b: draw.f32([9, 4]), starts: integers([3, 0]) }),
      y: (scope, { x }, _, { a, b, starts }) => ops.rope(scope, x!, [a!, b!], starts!),
    },
    {
      op: 'rope',
      label: 'in part',
      inputs: { x: [2, 2, 3, 2, 6] },
      constants: (draw) => ({ a: draw.f32([9, 4]), b: draw.f32([9, 4]), starts: integers([3, 0]) }),
      y: (scope, { x }, _, { a, b, starts }) => ops.rope(scope, x!, [a!, b!], starts!),
    },
  ],
};
