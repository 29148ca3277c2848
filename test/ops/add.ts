import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank } from '../support/reference.js';

const elements = (n: number): Case[] => [
  call('add', `n=${n}`, (draw) => ({ y: blank([n]), a: draw.normal([n]), b: draw.normal([n]) })),
  call('add', `n=${n} in place`, (draw) => {
    const a = draw.normal([n]);
    return { y: a, a, b: draw.normal([n]) };
  }),
];

export const add: OpTest = {
  references: {
    add: ({ y, a, b }, r) => ({ y: y.data.map((_, i) => r(a.data[i]! + b.data[i]!)) }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
  gradients: [
    {
      op: 'add',
      inputs: { a: [2, 3, 4], b: [2, 3, 4] },
      y: (scope, { a, b }) => ops.add(scope, ops.add(scope, a!, b!), a!),
    },
  ],
};
