import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Column, renderTable } from '../lib/cli/table.js';
import { displayWidth } from '../lib/cli/text-width.js';

interface Row {
  model: string;
  loss: number | null;
}

const COLUMNS: Column<Row>[] = [
  { title: 'model', value: (row) => row.model },
  { title: 'loss', value: (row) => row.loss, digits: 3, best: 'lowest' },
];
const ROWS: Row[] = [
  { model: 'hub', loss: 13.4119 },
  { model: 'stitched', loss: 3.1066 },
  { model: 'untrained', loss: null },
];

test('aligns numbers to the right and marks the best with a star', () => {
  assert.is(
    renderTable(ROWS, COLUMNS),
    ['model        loss', '---------  -------', 'hub        13.412', 'stitched    3.107*', 'untrained       -'].join(
      '\n',
    ),
  );
});

test('marks the best in bold where the stream has colors, without moving anything', () => {
  const lines = renderTable(ROWS, COLUMNS, { bold: true }).split('\n');
  assert.is(lines[3], 'stitched    \x1b[1m3.107\x1b[22m');
  assert.is(lines[2], 'hub        13.412');
});

test('writes Markdown with alignment, bold and escaped bars', () => {
  const lines = renderTable(
    [
      { model: 'a|b', loss: 1 },
      { model: 'c', loss: 2 },
    ],
    COLUMNS,
    { markdown: true },
  ).split('\n');
  assert.equal(lines, [
    '| model |      loss |',
    '| ----- | --------: |',
    '| a\\|b  | **1.000** |',
    '| c     |     2.000 |',
  ]);
});

test('highest is best where the column says so', () => {
  const table = renderTable(
    [
      { model: 'a', loss: 1 },
      { model: 'b', loss: 2 },
    ],
    [{ title: 'score', value: (row) => row.loss, best: 'highest' }],
  );
  assert.match(table, /2\*/);
  assert.not.match(table, /1\*/);
});

test('numbers that look the same are marked alike, and a lone one is not marked', () => {
  const tie = renderTable(
    [
      { model: 'a', loss: 1.0001 },
      { model: 'b', loss: 1.0002 },
    ],
    COLUMNS,
  );
  assert.is(tie.match(/1\.000\*/g)?.length, 2);
  assert.not.match(renderTable([{ model: 'a', loss: 1 }], COLUMNS), /\*/);
});

test('NaN is shown and never the best', () => {
  const table = renderTable(
    [
      { model: 'a', loss: Number.NaN },
      { model: 'b', loss: 5 },
      { model: 'c', loss: 6 },
    ],
    COLUMNS,
  );
  assert.match(table, /NaN(?!\*)/);
  assert.match(table, /5\.000\*/);
});

test('letters that are two columns wide stay aligned', () => {
  const lines = renderTable(
    [
      { model: '日本語', loss: 1 },
      { model: 'abc', loss: 2 },
    ],
    COLUMNS,
  ).split('\n');
  assert.is(displayWidth(lines[2]!.trimEnd()) - 1, displayWidth(lines[3]!.trimEnd())); // the star
  assert.is(displayWidth('日本語'), 6);
  assert.is(displayWidth('👩‍👩‍👧'), 2);
  assert.is(displayWidth('\x1b[1mab\x1b[22m'), 2);
});

test('line breaks and escape sequences in a cell do not reach the terminal', () => {
  const lines = renderTable([{ model: 'a\nb\x1b[2J\rc', loss: 1 }], COLUMNS).split('\n');
  assert.is(lines.length, 3);
  assert.match(lines[2]!, /^a b c +1\.000$/);
});

test('a table without rows is its head', () => {
  assert.is(renderTable([], COLUMNS), 'model  loss\n-----  ----');
});

test.run();
