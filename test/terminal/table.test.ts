import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Column, renderTable } from '../../lib/terminal/table.js';
import { displayWidth, foldToWidth } from '../../lib/terminal/text-width.js';

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

/** Models by many numbers. */
const WIDE = Array.from({ length: 9 }, (_, i) => `domain-${i} perplexity`);
const wideTable = (width: number, models = ['seed', 'experts/code', 'generalist'], bold = false) =>
  renderTable(
    models.map((model, m) => ({ model, values: WIDE.map((_, i) => 10 ** (i % 4) * (1.25 + m)) })),
    [
      { title: 'model', value: (row) => row.model },
      ...WIDE.map((title, i) => ({
        title,
        value: (row: { values: number[] }) => row.values[i]!,
        digits: 2,
        best: 'lowest' as const,
      })),
    ],
    { width, bold },
  );

test('a table that is too wide for the terminal is turned, folded or cut, and loses nothing', () => {
  const whole = wideTable(Number.POSITIVE_INFINITY);
  assert.is(whole.split('\n').length, 5);
  const numbers = (text: string) => text.match(/\d+\.\d\d\*?/g)!.sort();
  for (const width of [400, 120, 80, 60, 40, 30]) {
    for (const models of [undefined, ['a', 'b', '/home/somebody/models/llama-3.2-1b-instruct-continued']]) {
      for (const bold of [false, true]) {
        const table = wideTable(width, models, bold);
        for (const line of table.split('\n')) assert.ok(displayWidth(line) <= width, `${width}: ${line}`);
        const full = wideTable(Number.POSITIVE_INFINITY, models, bold);
        assert.equal(numbers(table), numbers(full), `${width}`);
      }
    }
  }
  const turned = wideTable(80).split('\n');
  assert.is(turned[0], 'model                   seed   experts/code  generalist');
  assert.is(turned[2], 'domain-0 perplexity     1.25*          2.25        3.25');
  assert.is(turned.length, 2 + WIDE.length);
});

test('long texts and titles are folded where that is enough', () => {
  const rows = [
    { name: 'hub', folder: '/home/somebody/models/llama-3.2-1b-instruct/final', parameters: 1234567890 },
    { name: 'code', folder: 'code', parameters: null },
  ];
  const table = renderTable(
    rows,
    [
      { title: 'member', value: ({ name }) => name },
      { title: 'folder', value: ({ folder }) => folder },
      {
        title: 'all of its parameters',
        value: ({ parameters }) => parameters,
        format: (n) => n.toLocaleString('en-US'),
      },
    ],
    { width: 50 },
  );
  assert.equal(table.split('\n'), [
    '                                        all of its',
    'member  folder                          parameters',
    '------  ---------------------------  -------------',
    'hub     /home/somebody/models/       1,234,567,890',
    '        llama-3.2-1b-instruct/final',
    'code    code                                     -',
  ]);
});

test('Markdown is as wide as it is', () => {
  const columns: Column<Row>[] = [COLUMNS[0]!, { ...COLUMNS[1]!, title: 'a title that is long' }];
  const [head] = renderTable(ROWS, columns, { markdown: true, width: 10 }).split('\n');
  assert.is(head, '| model     | a title that is long |');
});

test('what stands for a missing number is aligned as numbers are', () => {
  const lines = renderTable(
    [
      { model: 'a', loss: null },
      { model: 'b', loss: null },
    ],
    [
      { title: 'model', value: (row) => row.model },
      { title: 'std. error', value: (row) => row.loss, digits: 1 },
      { title: 'paper', value: () => '7.2B', isNumber: true },
    ],
  ).split('\n');
  assert.is(lines[0], 'model  std. error  paper');
  assert.is(lines[2], 'a               -   7.2B');
});

test('a text is folded between words, within one only where that is too long', () => {
  assert.equal(foldToWidth('the quick brown fox', 10), ['the quick', 'brown fox']);
  assert.equal(foldToWidth('a/long/path', 7), ['a/long/', 'path']);
  assert.equal(foldToWidth('abcdefghij', 4), ['abcd', 'efgh', 'ij']);
  assert.equal(foldToWidth('日本語', 4), ['日本', '語']);
  assert.equal(foldToWidth('short', 10), ['short']);
  assert.equal(foldToWidth('', 10), ['']);
});

test.run();
