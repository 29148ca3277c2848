import { styleText } from 'node:util';
import { fitTable, type Shown } from './table-layout.js';
import { displayWidth, padToWidth, singleLine } from './text-width.js';

/** One column of a table over rows of any type. */
export interface Column<Row> {
  title: string;
  /** What stands in the cell; nothing (null or undefined) is shown as '-'. */
  value: (row: Row) => string | number | null | undefined;
  /** Decimals of numbers; default as many as it takes. */
  digits?: number;
  /** How a number is written, in place of `digits`. */
  format?: (value: number) => string;
  /** Aligns what is written as text to the right, too. */
  isNumber?: boolean;
  /** Marks the best of the column's numbers. */
  best?: 'lowest' | 'highest';
}

export interface TableOptions {
  /** A Markdown table instead of one for terminals. */
  markdown?: boolean;
  /** Mark the best number in bold, for streams that have colors; otherwise with a `*`. Markdown always has bold. */
  bold?: boolean;
  /** Columns of the terminal that it has to fit; default what stdout has, without end where that is none. */
  width?: number;
}

interface Cell {
  text: string;
  isNumber: boolean;
  isBest: boolean;
}

/**
 * A table as lines of text, without a newline at the end. Columns of numbers are aligned to the right. One that is too wide
 * for a terminal is laid out anew, see `fitTable`; Markdown is as wide as it is.
 *
 *     renderTable(rows, [
 *       { title: 'model', value: (row) => row.name },
 *       { title: 'loss', value: (row) => row.loss, digits: 3, best: 'lowest' },
 *     ])
 *
 *     model      loss
 *     --------  ------
 *     hub       3.412
 *     stitched  3.107*
 */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { markdown = false, bold = false, width = terminalWidth() }: TableOptions = {},
): string {
  const cells = columns.map((column) => columnCells(rows, column));
  if (markdown) return markdownTable(columns, cells);
  const show = (cell: Cell): Shown => ({
    text: cell.isBest && bold ? styleText('bold', cell.text, { validateStream: false }) : cell.text,
    mark: cell.isBest && !bold ? '*' : '',
    isNumber: cell.isNumber,
  });
  const titles = columns.map(({ title }) => singleLine(title));
  return fitTable(
    titles,
    cells.map((column) => column.map(show)),
    width,
  ).join('\n');
}

function terminalWidth(): number {
  return (process.stdout.isTTY && process.stdout.columns) || Number.POSITIVE_INFINITY;
}

function columnCells<Row>(rows: readonly Row[], { value, digits, format, isNumber, best }: Column<Row>): Cell[] {
  const values = rows.map(value);
  const numbers = values.filter((cell) => typeof cell === 'number' && Number.isFinite(cell)) as number[];
  const show = format ?? ((cell: number) => (digits === undefined ? `${cell}` : cell.toFixed(digits)));
  // Compared as shown, so that two that look equal are marked alike; one number alone is no contest.
  const winner =
    numbers.length > 1 && best ? show(best === 'lowest' ? Math.min(...numbers) : Math.max(...numbers)) : undefined;
  const isNumeric = isNumber ?? (numbers.length > 0 || digits !== undefined || format !== undefined);
  return values.map((cell) => {
    if (cell == null) return { text: '-', isNumber: isNumeric, isBest: false };
    if (typeof cell === 'string') return { text: singleLine(cell), isNumber: isNumber === true, isBest: false };
    return { text: show(cell), isNumber: true, isBest: show(cell) === winner };
  });
}

function markdownTable(columns: readonly { title: string }[], cells: readonly (readonly Cell[])[]): string {
  const escaped = (text: string) => text.replace(/[\\|]/g, '\\$&');
  const lines = columns.map(({ title }, c) => {
    const column = cells[c]!;
    const isRight = column.some(({ isNumber }) => isNumber);
    const body = column.map(({ text, isBest }) => (isBest ? `**${escaped(text)}**` : escaped(text)));
    const texts = [escaped(singleLine(title)), ...body];
    const width = Math.max(3, ...texts.map(displayWidth));
    const rule = isRight ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width);
    const [head, ...rest] = texts.map((text) => padToWidth(text, width, isRight));
    return [head!, rule, ...rest];
  });
  return Array.from({ length: (cells[0]?.length ?? 0) + 2 }, (_, line) => {
    return `| ${lines.map((column) => column[line]!).join(' | ')} |`;
  }).join('\n');
}
