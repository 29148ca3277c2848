import { styleText } from 'node:util';
import { displayWidth, singleLine } from './text-width.js';

/** One column of a table over rows of any type. */
export interface Column<Row> {
  title: string;
  /** What stands in the cell; nothing (null or undefined) is shown as '-'. */
  value: (row: Row) => string | number | null | undefined;
  /** Decimals of numbers; default as many as it takes. */
  digits?: number;
  /** Marks the best of the column's numbers. */
  best?: 'lowest' | 'highest';
}

export interface TableOptions {
  /** A Markdown table instead of one for terminals. */
  markdown?: boolean;
  /** Mark the best number in bold, for streams that have colors; otherwise with a `*`. Markdown always has bold. */
  bold?: boolean;
}

interface Cell {
  text: string;
  isNumber: boolean;
  isBest: boolean;
}

/**
 * A table as lines of text, without a newline at the end. Columns of numbers are aligned to the right.
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
  { markdown = false, bold = false }: TableOptions = {},
): string {
  const rendered = columns.map((column) => {
    const cells = columnCells(rows, column);
    const isRight = cells.some((cell) => cell.isNumber);
    const show = markdown
      ? markdownCell
      : terminalCell(
          bold,
          cells.some((cell) => cell.isBest),
        );
    const title = { text: singleLine(column.title), isNumber: false, isBest: false };
    const texts = [title, ...cells].map(show);
    const width = Math.max(3, ...texts.map(displayWidth));
    const rule = markdown && isRight ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width);
    const [head, ...body] = texts.map((text) => pad(text, width, isRight));
    return [head!, rule, ...body];
  });
  return Array.from({ length: rows.length + 2 }, (_, line) => {
    const cells = rendered.map((texts) => texts[line]!);
    return markdown ? `| ${cells.join(' | ')} |` : cells.join('  ').trimEnd();
  }).join('\n');
}

function columnCells<Row>(rows: readonly Row[], { value, digits, best }: Column<Row>): Cell[] {
  const values = rows.map(value);
  const numbers = values.filter((cell) => typeof cell === 'number' && Number.isFinite(cell)) as number[];
  const show = (cell: number) => (digits === undefined ? `${cell}` : cell.toFixed(digits));
  // Compared as shown, so that two that look equal are marked alike; one number alone is no contest.
  const winner =
    numbers.length > 1 && best ? show(best === 'lowest' ? Math.min(...numbers) : Math.max(...numbers)) : undefined;
  return values.map((cell) => {
    if (typeof cell !== 'number') return { text: singleLine(cell ?? '-'), isNumber: false, isBest: false };
    return { text: show(cell), isNumber: true, isBest: show(cell) === winner };
  });
}

function markdownCell({ text, isBest }: Cell): string {
  const escaped = text.replace(/[\\|]/g, '\\$&');
  return isBest ? `**${escaped}**` : escaped;
}

/** With stars, the other cells of the column get a space, so that the digits stay aligned. */
function terminalCell(bold: boolean, columnHasBest: boolean): (cell: Cell) => string {
  return ({ text, isBest }) => {
    if (bold) return isBest ? styleText('bold', text, { validateStream: false }) : text;
    if (!columnHasBest) return text;
    return isBest ? `${text}*` : `${text} `;
  };
}

function pad(text: string, width: number, isRight: boolean): string {
  const space = ' '.repeat(width - displayWidth(text));
  return isRight ? space + text : text + space;
}
