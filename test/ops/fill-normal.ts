import { type Case, call } from '../support/case.js';
import { lengths, long } from '../support/lengths.js';
import type { OpTest } from '../support/op-test.js';
import { blank } from '../support/reference.js';
import { randomWord } from '../support/reference-random.js';

const elements = (n: number): Case[] =>
  [7, 2 ** 45 + 3].map((seed) =>
    call('fill_normal', `n=${n} seed=${seed}`, () => ({ y: blank([n], 'f32'), deviation: Math.fround(0.02), seed })),
  );

export const fillNormal: OpTest = {
  references: {
    fill_normal: ({ y, deviation, seed }) => ({
      y: y.data.map((_, i) => {
        const pair = i - (i % 2);
        const radius = deviation * Math.sqrt(-2 * Math.log((randomWord(seed, pair) + 1) / 2 ** 32));
        const angle = (2 * Math.PI * randomWord(seed, pair + 1)) / 2 ** 32;
        return radius * (i % 2 ? Math.sin(angle) : Math.cos(angle));
      }),
    }),
  },
  cases: lengths.flatMap(elements),
  large: elements(long),
};
