import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank } from '../support/reference.js';
import { dropoutFactor } from '../support/reference-random.js';

const elements = (n: number): Case[] =>
  [0, 0.5, Math.fround(0.9)].flatMap((rate) =>
    [0, 2 ** 34 + 3].map((first) =>
      call('dropout', `n=${n} rate=${rate} first=${first}`, (draw) => ({
        ...{ y: blank([n]), x: draw.normal([n]), rate, seed: 2 ** 50 + 9, first },
      })),
    ),
  );

export const dropout: OpTest = {
  references: {
    dropout: ({ y, x, rate, seed, first = 0 }, r) => ({
      y: y.data.map((_, i) => r(x.data[i]! * dropoutFactor(r, rate, seed, first + i))),
    }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
  gradients: [
    {
      op: 'dropout',
      inputs: { x: [2, 3, 4] },
      y: (scope, { x }) => ops.dropout(scope, x!, { rate: 0.5, seed: 3 }),
    },
  ],
};
