import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { permute } from '../../lib/base/permutation.js';
import { hash32, hashName, philox, Random } from '../../lib/base/random.js';
import { fails } from '../data/data-fixtures.js';

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ');

test('philox gives the known answers of its authors (Random123, kat_vectors)', () => {
  const ones = 0xffffffff;
  assert.is(hex(philox([0, 0, 0, 0], [0, 0])), '6627e8d5 e169c58d bc57ac4c 9b00dbd8');
  assert.is(hex(philox([ones, ones, ones, ones], [ones, ones])), '408f276d 41c83b0e a20bc7c6 6d5451fd');
  const pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0];
  assert.is(hex(philox(pi.slice(0, 4), pi.slice(4))), 'd16cfe09 94fdcceb 5001e420 24126ea1');
});

test('hashName gives the known answers of FNV-1a', () => {
  assert.is(hashName(''), 0x811c9dc5);
  assert.is(hashName('a'), 0xe40c292c);
  assert.is(hashName('foobar'), 0xbf9cf968);
});

test('hash32 depends on the seed and on every counter', async () => {
  assert.is(hash32(0), 0x6627e8d5);
  assert.is(hash32(0xd0 * 2 ** 32 + 7, 1, 2, 3, 4), philox([1, 2, 3, 4], [7, 0xd0])[0]);
  const draws = [hash32(1), hash32(2), hash32(1, 1), hash32(1, 0, 1), hash32(1, 0, 0, 1), hash32(1, 0, 0, 0, 1)];
  assert.is(new Set(draws).size, draws.length);
  await fails(() => hash32(-1), 'BAD_OPTION', /seed/);
  await fails(() => hash32(0.5), 'BAD_OPTION', /seed/);
  await fails(() => hash32(2 ** 53), 'BAD_OPTION', /seed/);
  await fails(() => hash32(0, 2 ** 32), 'BAD_OPTION', /counters/);
  await fails(() => hash32(0, -1), 'BAD_OPTION', /counters/);
  await fails(() => hash32(0, 1, 2, 3, 4, 5), 'BAD_OPTION', /counters/);
});

test('the same seed and stream give the same sequence, others another', () => {
  const draw = (random: Random) => Array.from({ length: 9 }, () => random.uint32());
  assert.equal(draw(new Random(5, 'init')), draw(new Random(5, 'init')));
  assert.is.not(String(draw(new Random(5, 'init'))), String(draw(new Random(5, 'dropout'))));
  assert.is.not(String(draw(new Random(5, 'init'))), String(draw(new Random(6, 'init'))));
  assert.is(new Set(draw(new Random(5))).size, 9);
});

test('a restored generator goes on at any point of a block', async () => {
  for (let drawn = 0; drawn < 10; drawn++) {
    const random = new Random(3, 'x');
    for (let i = 0; i < drawn; i++) random.uint32();
    const other = new Random(3, 'x');
    other.uint32();
    other.restore(JSON.parse(JSON.stringify(random.state())));
    assert.equal(
      [other.uint32(), other.uniform(), other.below(1000), other.uint32()],
      [random.uint32(), random.uniform(), random.below(1000), random.uint32()],
    );
    assert.equal(other.state(), random.state());
  }
  await fails(() => new Random(3).restore(new Random(4).state()), 'BAD_DATA', /seed 3.*seed 4/);
  await fails(() => new Random(3, 'a').restore(new Random(3, 'b').state()), 'BAD_DATA', /'a'.*'b'/);
  await fails(() => new Random(3).restore({ seed: 3, stream: 0, position: -1 }), 'BAD_DATA', /position/);
});

test('uniform numbers lie in [0, 1), fill it evenly and use more than 32 bits', () => {
  const random = new Random(1);
  const bins = new Array(10).fill(0);
  let fine = 0;
  for (let i = 0; i < 20_000; i++) {
    const value = random.uniform();
    assert.ok(value >= 0 && value < 1);
    bins[Math.floor(value * 10)]++;
    if ((value * 2 ** 32) % 1 !== 0) fine++;
  }
  // Four standard deviations of a binomial with n = 20,000 and p = 0.1.
  for (const count of bins) assert.ok(Math.abs(count - 2000) < 4 * Math.sqrt(20_000 * 0.1 * 0.9), `bins ${bins}`);
  assert.ok(fine > 19_000);
});

test('below is even where the range does not divide 2^32, and checks its range', async () => {
  const random = new Random(2);
  const range = 3 * 2 ** 30;
  let upperThird = 0;
  for (let i = 0; i < 20_000; i++) if (random.below(range) >= 2 * 2 ** 30) upperThird++;
  // Without rejection a quarter would fall here instead of a third.
  assert.ok(Math.abs(upperThird - 6667) < 4 * Math.sqrt((20_000 * 2) / 9), `${upperThird}`);
  assert.is(random.below(1), 0);
  for (const range of [0, -1, 1.5, Number.NaN, 2 ** 32 + 1])
    await fails(() => random.below(range), 'BAD_OPTION', /below/);
});

test('a permutation takes every place once', () => {
  for (const count of [1, 2, 3, 5, 31, 33, 64, 1000, 4097]) {
    const places = Array.from({ length: count }, (_, index) => permute(index, count, 9));
    assert.equal(
      [...places].sort((a, b) => a - b),
      Array.from({ length: count }, (_, index) => index),
      `count ${count}`,
    );
  }
});

test('seeds give different permutations, and small ones give all of them about equally often', () => {
  const seen = new Map<string, number>();
  for (let seed = 0; seed < 6000; seed++) {
    const order = [0, 1, 2].map((index) => permute(index, 3, seed)).join('');
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  assert.is(seen.size, 6);
  // Six standard deviations: a Feistel network of one-bit halves is close to even, not even.
  for (const count of seen.values()) assert.ok(Math.abs(count - 1000) < 6 * Math.sqrt((6000 * 5) / 36), `${count}`);
});

test('a permutation of more items than memory could hold stays within its range', () => {
  const count = 3 * 2 ** 40;
  const places = Array.from({ length: 100 }, (_, index) => permute(count - 1 - index, count, 4));
  assert.is(new Set(places).size, 100);
  assert.ok(places.every((place) => Number.isSafeInteger(place) && place >= 0 && place < count));
});

test.run();
