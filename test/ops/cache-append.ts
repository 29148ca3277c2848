import { call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { build, integers } from '../support/reference.js';

const fault = (T: number, starts: number[]) =>
  call('cache_append', `T=${T} starts=${starts}`, (draw) => ({
    cache: draw.normal([1, starts.length, 6, 2, 4]),
    x: draw.normal([1, starts.length, T, 2, 4]),
    starts: integers(starts),
  }));

export const cacheAppend: OpTest = {
  references: {
    cache_append: ({ cache, x, starts }) => ({
      cache: build(cache.shape, (m, b, s, k, d) => {
        const t = s! - starts.at(b!);
        return t >= 0 && t < x.shape[2]! ? x.at(m!, b, t, k, d) : cache.at(m!, b, s, k, d);
      }),
    }),
  },
  cases: [1, 3, 31].map((T) =>
    call('cache_append', `T=${T}`, (draw) => ({
      cache: draw.normal([2, 3, 40, 2, 6]),
      x: draw.normal([2, 3, T, 2, 6]),
      starts: integers([0, 40 - T, 5]),
    })),
  ),
  faults: [
    { case: fault(2, [0, 5]), code: 'BAD_SHAPE', message: /^cache_append: sequence 1 has 2 tokens from position 5/ },
    { case: fault(1, [-1]), code: 'BAD_SHAPE', message: /^cache_append: sequence 0 has 1 tokens from position -1/ },
    {
      case: fault(1, [2 ** 31 - 1]),
      code: 'BAD_SHAPE',
      message: /^cache_append: sequence 0 has 1 tokens from position 2147483647/,
    },
  ],
};
