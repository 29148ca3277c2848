import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';

const elements = (n: number): Case[] => [
  call('add_scaled', `n=${n}`, (draw) => ({ y: draw.f32([n]), x: draw.f32([n]), scale: Math.fround(-0.3) })),
];

export const addScaled: OpTest = {
  references: {
    add_scaled: ({ y, x, scale }, r) => ({ y: y.data.map((_, i) => r(y.data[i]! + r(scale * x.data[i]!))) }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
};
