import { call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { build, integers, type Values } from '../support/reference.js';

const fault = (T: number, starts: number[]) =>
  call('cache_append', `T=${T} starts=${starts}`, (draw) => ({
    cache: draw.normal([1, starts.length, 6, 2, 4]),
    x: draw.normal([1, starts.length, T, 2, 4]),
    starts: integers(starts),
  }));

function appendedToPages(cache: Values, pages: Values, x: Values, starts: Values): Float64Array {
  const [M, B, T, K, D] = x.shape as [number, number, number, number, number];
  const data = cache.data.slice();
  build([M, B, T, K, D], (m, b, t, k, d) => {
    const slot = starts.at(b!) + t!;
    const page = pages.at(m!, b!, Math.floor(slot / 64));
    if (page >= 0) data[((page * 64 + (slot % 64)) * K + k!) * D + d!] = x.at(m!, b, t, k, d);
    return 0;
  });
  return data;
}

const page = (entry: number) =>
  call('cache_append', `page ${entry}`, (draw) => ({
    cache: draw.normal([3, 64, 2, 4]),
    pages: integers([entry], [1, 1, 1]),
    x: draw.normal([1, 1, 1, 2, 4]),
    starts: integers([0]),
  }));

export const cacheAppend: OpTest = {
  references: {
    cache_append: ({ cache, x, starts, pages }) => {
      if (pages) return { cache: appendedToPages(cache, pages, x, starts) };
      const appended = build(cache.shape, (m, b, s, k, d) => {
        const t = s! - starts.at(b!);
        return t >= 0 && t < x.shape[2]! ? x.at(m!, b, t, k, d) : cache.at(m!, b, s, k, d);
      });
      return { cache: appended };
    },
  },
  cases: [1, 3, 31].flatMap((T) => [
    call('cache_append', `T=${T}`, (draw) => ({
      cache: draw.normal([2, 3, 40, 2, 6]),
      x: draw.normal([2, 3, T, 2, 6]),
      starts: integers([0, 40 - T, 5]),
    })),
    // The third sequence has no page; the second crosses from one to another.
    call('cache_append', `T=${T} in pages`, (draw) => ({
      cache: draw.normal([9, 64, 2, 6]),
      pages: integers([4, 1, 7, 8, -1, -1, 0, 2, 6, 3, -1, -1], [2, 3, 2]),
      x: draw.normal([2, 3, T, 2, 6]),
      starts: integers([0, 63, 5]),
    })),
  ]),
  faults: [
    { case: page(3), code: 'BAD_SHAPE', message: /^cache_append: pages\[0\] is 3, which must lie in 0\.\.2/ },
    { case: fault(2, [0, 5]), code: 'BAD_SHAPE', message: /^cache_append: sequence 1 has 2 tokens from position 5/ },
    { case: fault(1, [-1]), code: 'BAD_SHAPE', message: /^cache_append: sequence 0 has 1 tokens from position -1/ },
    {
      case: fault(1, [2 ** 31 - 1]),
      code: 'BAD_SHAPE',
      message: /^cache_append: sequence 0 has 1 tokens from position 2147483647/,
    },
  ],
};
