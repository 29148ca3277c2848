import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, sum, type Values } from '../support/reference.js';

const rows = (R: number, C: number, G: number): Case[] => [
  call('mul_forward', describe({ R, C, G }), (draw) => ({
    y: blank([R, C]),
    a: draw.normal([R, C]),
    b: draw.normal([R, G]),
  })),
  ...[
    [true, true],
    [true, false],
    [false, true],
  ].map(([da, db]) =>
    call('mul_backward', describe({ R, C, G, da, db }), (draw) => ({
      da: da ? blank([R, C]) : undefined,
      db: db ? blank([R, G]) : undefined,
      dy: draw.normal([R, C]),
      a: draw.normal([R, C]),
      b: draw.normal([R, G]),
    })),
  ),
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

/** The number of b that element (r, c) is multiplied with. */
const factor = (b: Values, r: number, c: number) => b.at(r, b.shape[1] === 1 ? 0 : c);

export const mul: OpTest = {
  references: {
    mul_forward: ({ y, a, b }, r) => ({ y: build(y.shape, (n, c) => r(a.at(n!, c) * factor(b, n!, c!))) }),

    mul_backward: ({ da, db, dy, a, b }, r) => ({
      ...(da && { da: build(da.shape, (n, c) => r(dy.at(n!, c) * factor(b, n!, c!))) }),
      ...(db && {
        db: build(db.shape, (n, g) =>
          db.shape[1] === 1
            ? sum(r, dy.shape[1]!, (c) => r(dy.at(n!, c) * a.at(n!, c)))
            : r(dy.at(n!, g) * a.at(n!, g)),
        ),
      }),
    }),
  },
  cases: sizes.flatMap((size) => rows(...size)),
  large: [...rows(300, 200, 200), ...rows(300, 200, 1)],
  refused: [
    {
      case: call('mul_forward', 'two for three', (draw) => ({
        y: blank([2, 3]),
        a: draw.normal([2, 3]),
        b: draw.normal([2, 2]),
      })),
      code: 'BAD_SHAPE',
      message: /^mul_forward: expected one factor for each element or for each row/,
    },
    {
      case: call('mul_forward', 'other rows', (draw) => ({
        y: blank([2, 5, 3]),
        a: draw.normal([2, 5, 3]),
        b: draw.normal([5, 3]),
      })),
      code: 'BAD_SHAPE',
      message: /^mul_forward: 'b' has shape \[5, 3\], expected \[2, 5, G\]/,
    },
  ],
  gradients: [4, 1].map((G) => ({
    op: 'mul',
    label: describe({ G }),
    inputs: { a: [2, 3, 4], b: [2, 3, G] },
    y: (scope, { a, b }) => ops.mul(scope, ops.mul(scope, a!, a!), b!),
  })),
};
