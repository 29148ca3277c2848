/** How a table is laid out so that it fits a terminal: cells in columns, as wide as they have to be, folded or turned. */
import { displayWidth, foldToWidth, padToWidth, unbroken } from './text-width.js';

export interface Shown {
  text: string;
  /** Stands behind the text, in a place that the whole column then has; may be empty. */
  mark: string;
  isNumber: boolean;
}

/** The title first, then one cell a row. */
type LaidColumn = readonly Shown[];

const GAP = '  ';
const NARROWEST = 3;
/** Text is not folded into less than this. */
const NARROWEST_TEXT = 16;

const title = (text: string): Shown => ({ text, mark: '', isNumber: false });

/**
 * The lines of a table of at most `width` columns where that can be: as it is; else with long texts and titles folded; else
 * turned, with a column for each row; else cut into several tables, one below the other, which all begin with the first
 * column. Numbers are never folded.
 */
export function fitTable(titles: readonly string[], columns: readonly (readonly Shown[])[], width: number): string[] {
  const table = columns.map((cells, c) => [title(titles[c]!), ...cells]);
  const folded = fold(table, width);
  if (folded) return draw(table, folded);
  const turned = turn(table);
  const turnedFolded = turned.length > 1 ? fold(turned, width) : undefined;
  if (turnedFolded) return draw(turned, turnedFolded);
  return cut(table, width).flatMap((part, i) => {
    const lines = draw(part, fold(part, width) ?? part.map(leastWidth));
    return i === 0 ? lines : ['', ...lines];
  });
}

const isRight = (column: LaidColumn) => column.slice(1).some(({ isNumber }) => isNumber);
const markWidth = (column: LaidColumn) => Math.max(...column.map(({ mark }) => mark.length));
const widest = (texts: readonly string[]) => Math.max(0, ...texts.map(displayWidth));

function fullWidth(column: LaidColumn): number {
  return Math.max(NARROWEST, markWidth(column) + widest(column.map(({ text }) => text)));
}

function leastWidth(column: LaidColumn): number {
  const [head, ...body] = column;
  const most = fullWidth(column);
  if (!isRight(column)) return Math.min(most, NARROWEST_TEXT);
  const pieces = unbroken(head!.text).map((piece) => piece.trimEnd());
  const longest = widest([...body.map(({ text }) => text), ...pieces]);
  return Math.min(most, Math.max(NARROWEST, markWidth(column) + longest));
}

const widthOf = (widths: readonly number[]) =>
  widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);

/** Widths of columns that fit together: titles of numbers are folded first, then the widest texts. Undefined where there are none. */
function fold(table: readonly LaidColumn[], width: number): number[] | undefined {
  const widths = table.map(fullWidth);
  const least = table.map(leastWidth);
  while (widthOf(widths) > width) {
    const spare = [...table.keys()].filter((c) => widths[c]! > least[c]!);
    const numbers = spare.filter((c) => isRight(table[c]!));
    const [widest, ...others] = numbers.length > 0 ? numbers : spare;
    if (widest === undefined) return undefined;
    widths[others.reduce((a, b) => (widths[b]! > widths[a]! ? b : a), widest)]!--;
  }
  return widths;
}

/** Rows as columns: the titles are the first, and the first column's texts are the titles. */
function turn(table: readonly LaidColumn[]): LaidColumn[] {
  const rows = table[0]?.length ?? 0;
  return Array.from({ length: rows }, (_, row) =>
    table.map((column, c) => (c === 0 || row === 0 ? title(column[row]!.text) : column[row]!)),
  );
}

/** The first column with as many of the others as fit beside it, again and again. */
function cut(table: readonly LaidColumn[], width: number): LaidColumn[][] {
  const [first, ...others] = table as [LaidColumn, ...LaidColumn[]];
  const parts: LaidColumn[][] = [];
  for (const column of others) {
    const grown = [...(parts.at(-1) ?? [first]), column];
    if (parts.length > 0 && widthOf(grown.map(leastWidth)) <= width) parts[parts.length - 1] = grown;
    else parts.push([first, column]);
  }
  return parts.length > 0 ? parts : [[first]];
}

function draw(table: readonly LaidColumn[], widths: readonly number[]): string[] {
  const drawn = table.map((column, c) => {
    const mark = markWidth(column);
    const lines = column.map(({ text, isNumber }) => (isNumber ? [text] : foldToWidth(text, widths[c]! - mark)));
    const cell = (text: string, row: number) =>
      padToWidth(text, widths[c]! - mark, isRight(column)) + column[row]!.mark.padEnd(mark);
    return { lines, cell };
  });
  const rows = Array.from({ length: table[0]?.length ?? 0 }, (_, row) => {
    const height = Math.max(...drawn.map(({ lines }) => lines[row]!.length));
    return Array.from({ length: height }, (_, line) => {
      const cells = drawn.map(({ lines, cell }) => {
        const own = lines[row]!;
        // Titles stand on the rule, the text of cells hangs from their first line.
        const text = own[row === 0 ? line - height + own.length : line];
        return text === undefined ? cell('', row).replace(/\S/g, ' ') : cell(text, row);
      });
      return cells.join(GAP).trimEnd();
    });
  });
  const rule = widths.map((width) => '-'.repeat(width)).join(GAP);
  const [head = [], ...body] = rows;
  return [...head, rule, ...body.flat()];
}
