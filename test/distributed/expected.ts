/** What calls must come to, from what one process computes. */
import * as assert from 'uvu/assert';
import { fraction, SHAPES, sizeOf, wholeNumber } from './numbers.js';
import type { Calls } from './programs.js';

const ranksOf = (size: number) => Array.from({ length: size }, (_, rank) => rank);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

export function expectCalls(all: readonly Calls[]): void {
  const size = all.length;
  const ranks = ranksOf(size);
  expectSums(all);
  const many = Array.from({ length: 200 }, (_, i) => Array(i % 3).fill(sum(ranks.map((rank) => rank + i)))).flat();
  for (const [rank, each] of all.entries()) {
    assert.equal(
      each.broadcast,
      ranks.map((root) => [root, root + 0.5]),
    );
    assert.equal(each.many, many);
    const before = (rank + size - 1) % size;
    assert.is(each.receivedBytes, all[before]!.sentBytes);
    assert.equal(
      each.received,
      Array.from({ length: 20 }, (_, i) => wholeNumber(before, 1, i)),
    );
    assert.equal(each.ordered, Array(3).fill((3 * size * (size + 1)) / 2 + rank + 1));
    assert.equal(each.gathered, [ranks.map((rank) => ({ rank, text: 'ä\n' })), ranks.map((rank) => rank * rank)]);
    expectRefused(each, rank, size);
  }
}

/** Sums of whole numbers are exact; others are the same bytes on all ranks, each time, and as near as rounding lets them be. */
function expectSums(all: readonly Calls[]): void {
  const size = all.length;
  const ranks = ranksOf(size);
  const whole = SHAPES.map((shape, tensor) =>
    Array.from({ length: sizeOf(shape) }, (_, i) => sum(ranks.map((rank) => wholeNumber(rank, tensor, i)))),
  );
  const [first] = all[0]!.rounded;
  for (const { f32, bf16, rounded, sample, roundedBf16 } of all) {
    assert.equal(f32, whole);
    assert.equal(bf16, whole);
    assert.equal(rounded, [first, first]);
    assert.is(roundedBf16, all[0]!.roundedBf16);
    for (const [i, value] of sample.entries()) {
      const terms = ranks.map((rank) => fraction(rank, i));
      const bound = sum(terms.map(Math.abs)) * size * 2 ** -24;
      assert.ok(Math.abs(value - sum(terms)) <= bound, `${value} is not ${sum(terms)}`);
    }
  }
}

function expectRefused({ shapes, calls, fault, sums }: Calls, rank: number, size: number): void {
  const here = `on rank ${rank} of ${size}: `;
  for (const { code } of [shapes, calls]) assert.is(code, 'COMMUNICATION');
  const other = rank === 1 ? 0 : 1;
  assert.ok(
    shapes.message.startsWith(`all-reduce: ${here}rank ${other} calls all-reduce of 1 tensor, `),
    shapes.message,
  );
  const name = rank === 1 ? 'broadcast' : 'all-reduce';
  assert.ok(calls.message.startsWith(`${name}: ${here}rank ${other} calls `), calls.message);
  if (rank === 1) assert.is(fault.code, 'BAD_TOKEN', fault.message);
  else {
    assert.is(fault.code, 'COMMUNICATION');
    assert.match(fault.message, `all-reduce: ${here}rank 1 cannot take part: embedding_forward: `);
  }
  assert.equal(sums, [size, size, size], 'calls that follow');
}
