import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank } from '../support/reference.js';
import { capped } from '../support/reference-softcap.js';

const elements = (n: number): Case[] => [
  ...[1, 30].map((cap) =>
    call('softcap', `n=${n} cap=${cap}`, (draw) => ({ y: blank([n]), x: draw.normal([n], 5), cap })),
  ),
  call('softcap', `n=${n} in place`, (draw) => {
    const x = draw.normal([n]);
    return { y: x, x, cap: 2 };
  }),
];

export const softcap: OpTest = {
  references: {
    softcap: ({ x, cap }, r) => ({ y: x.data.map((value) => capped(r, value, cap)) }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
};
