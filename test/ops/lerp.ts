import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, sum, type Values } from '../support/reference.js';

const rows = (R: number, C: number, G: number): Case[] => [
  call('lerp_forward', describe({ R, C, G }), (draw) => ({
    y: blank([R, C]),
    a: draw.normal([R, C]),
    b: draw.normal([R, C]),
    g: draw.normal([R, G]),
  })),
  call('lerp_backward', describe({ R, C, G }), (draw) => ({
    da: blank([R, C]),
    db: blank([R, C]),
    dg: blank([R, G]),
    dy: draw.normal([R, C]),
    a: draw.normal([R, C]),
    b: draw.normal([R, C]),
    g: draw.normal([R, G]),
  })),
];

/** Rows, and how long they are; one number for each element or for each row. */
const sizes: [number, number, number][] = [
  [1, 1, 1],
  [3, 33, 33],
  [5, 31, 1],
  [7, 64, 64],
  [33, 64, 1],
  [2, 123, 1],
  [0, 4, 1],
];

/** The gate of element (r, c). */
const gate = (g: Values, r: number, c: number) => g.at(r, g.shape[1] === 1 ? 0 : c);

export const lerp: OpTest = {
  references: {
    lerp_forward: ({ y, a, b, g }, r) => ({
      y: build(y.shape, (n, c) => r(a.at(n!, c) + r(gate(g, n!, c!) * r(b.at(n!, c) - a.at(n!, c))))),
    }),

    lerp_backward: ({ da, db, dg, dy, a, b, g }, r) => {
      const dgate = (n: number, c: number) => r(dy.at(n, c) * r(b.at(n, c) - a.at(n, c)));
      return {
        da: build(da.shape, (n, c) => r(dy.at(n!, c) - r(gate(g, n!, c!) * dy.at(n!, c)))),
        db: build(db.shape, (n, c) => r(gate(g, n!, c!) * dy.at(n!, c))),
        dg: build(dg.shape, (n, c) =>
          dg.shape[1] === 1 ? sum(r, dy.shape[1]!, (each) => dgate(n!, each)) : dgate(n!, c!),
        ),
      };
    },
  },
  cases: sizes.flatMap((size) => rows(...size)),
  large: [...rows(300, 200, 200), ...rows(300, 200, 1)],
  refused: [
    {
      case: call('lerp_forward', 'two for three', (draw) => ({
        y: blank([2, 3]),
        a: draw.normal([2, 3]),
        b: draw.normal([2, 3]),
        g: draw.normal([2, 2]),
      })),
      code: 'BAD_SHAPE',
      message: /^lerp_forward: expected one gate for each element or for each row/,
    },
  ],
  gradients: [4, 1].map((G) => ({
    op: 'lerp',
    label: describe({ G }),
    inputs: { a: [2, 3, 4], b: [2, 3, 4], g: [2, 3, G] },
    y: (scope, { a, b, g }) => ops.lerp(scope, a!, b!, g!),
  })),
};
