import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank, single } from '../support/reference.js';

const elements = (n: number): Case[] => [
  call('fill', `n=${n}`, () => ({ y: blank([n], 'f32'), value: Math.fround(-2.7) })),
];

export const fill: OpTest = {
  references: {
    fill: ({ y, value }) => ({ y: y.data.map(() => single(value)) }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
};
