import { call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, integers } from '../support/reference.js';

const gathers = [1, 3, 33, 123].map((C) =>
  call('gather_rows', `C=${C}`, (draw) => ({
    y: blank([4, C]),
    x: draw.normal([7, C]),
    rows: integers([6, 0, 3, 3]),
  })),
);

const fault = (rows: number[]) =>
  call('gather_rows', `rows=${rows}`, (draw) => ({
    y: blank([rows.length, 3]),
    x: draw.normal([5, 3]),
    rows: integers(rows),
  }));

export const gatherRows: OpTest = {
  references: {
    gather_rows: ({ y, x, rows }) => ({ y: build(y.shape, (n, c) => x.at(rows.at(n!), c)) }),
  },
  cases: [
    ...gathers,
    call('gather_rows', 'R=0', (draw) => ({ y: blank([0, 3]), x: draw.normal([7, 3]), rows: integers([]) })),
  ],
  faults: [
    { case: fault([4, 5]), code: 'BAD_SHAPE', message: /^gather_rows: rows\[1\] is 5, .* 0\.\.4$/ },
    { case: fault([-3]), code: 'BAD_SHAPE', message: /^gather_rows: rows\[0\] is -3/ },
  ],
};
