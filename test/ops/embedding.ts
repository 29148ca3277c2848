import type { DType } from '../../lib/tensor/addon.js';
import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, integers } from '../support/reference.js';
import { narrow } from '../support/reference-halves.js';

const mixed: DType[] = ['f32', 'bf16', 'f16'];

function embeddings(M: number, N: number, C: number, scale = 1): Case[] {
  const label = `M=${M} N=${N} C=${C} scale=${scale}`;
  return [
    call('embedding_forward', label, (draw) => ({
      y: blank([M, N, C]),
      table: draw.members(M, [7, C], 1, mixed),
      ids: draw.integers(N, 7),
      scale,
    })),
    // Seven ids for more rows: the rows of one id add up.
    call('embedding_backward', label, (draw) => ({
      dtable: draw.members(M, [7, C]),
      dy: draw.normal([M, N, C]),
      ids: draw.integers(N, 7),
      scale,
    })),
  ];
}

/** [M, N, C] */
const sizes: [number, number, number][] = [
  [1, 1, 33],
  [2, 3, 31],
  [3, 33, 3],
  [5, 31, 64],
  [1, 123, 123],
  [1, 200, 1],
  [2, 0, 3],
];

const lookUp = (ids: number[]) =>
  call('embedding_forward', `ids=${ids}`, (draw) => ({
    y: blank([2, ids.length, 3]),
    table: draw.members(2, [7, 3]),
    ids: integers(ids),
    scale: 1,
  }));

const addTo = (ids: number[]) =>
  call('embedding_backward', `ids=${ids}`, (draw) => ({
    dtable: draw.members(2, [7, 3]),
    dy: draw.normal([2, ids.length, 3]),
    ids: integers(ids),
    scale: 1,
  }));

export const embedding: OpTest = {
  references: {
    embedding_forward: ({ y, table, ids, scale }, r) => ({
      y: build(y.shape, (m, n, c) => r(narrow(scale, y.dtype) * table[m!]!.at(ids.at(n!), c))),
    }),

    embedding_backward: ({ dtable, dy, ids, scale }, r) => ({
      dtable: dtable.map((table, m) => {
        const result = table.data.slice();
        const [, N, C] = dy.shape as [number, number, number];
        for (let n = 0; n < N; n++)
          for (let c = 0; c < C; c++) {
            const at = ids.at(n) * C + c;
            result[at] = r(result[at]! + r(narrow(scale, dy.dtype) * dy.at(m, n, c)));
          }
        return result;
      }),
    }),
  },
  cases: sizes.flatMap((size) => [...embeddings(...size), ...embeddings(...size, Math.sqrt(48))]),
  large: embeddings(3, 40, 1300),
  faults: [
    { case: lookUp([0, 1, 7]), code: 'BAD_TOKEN', message: /^embedding_forward: ids\[2\] is 7, .* 0\.\.6$/ },
    { case: lookUp([-1]), code: 'BAD_TOKEN', message: /^embedding_forward: ids\[0\] is -1/ },
    { case: lookUp([2 ** 31 - 1]), code: 'BAD_TOKEN', message: /^embedding_forward: ids\[0\] is 2147483647/ },
    { case: addTo([6, -(2 ** 31)]), code: 'BAD_TOKEN', message: /^embedding_backward: ids\[1\] is -2147483648/ },
  ],
  gradients: [
    {
      op: 'embedding',
      inputs: {},
      weights: { a: [5, 4], b: [5, 4] },
      constants: () => ({ ids: integers([4, 1, 1]) }),
      y: (scope, _, { a, b }, { ids }) => ops.embedding(scope, [a!, b!], ids!),
    },
    {
      op: 'embedding',
      label: 'scaled',
      inputs: {},
      weights: { a: [5, 4], b: [5, 4] },
      constants: () => ({ ids: integers([4, 1, 1]) }),
      y: (scope, _, { a, b }, { ids }) => ops.embedding(scope, [a!, b!], ids!, 3.3),
    },
  ],
};
