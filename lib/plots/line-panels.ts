import type { LineMark, Mark, RuleMark, SymbolMark, TextMark } from 'vega';
import { INK, lineStyle, niceRange, PANEL_TITLE_SIZE } from './style.js';
import { lineWithin, textWidth } from './text-width.js';
import { type Chart, renderSvg } from './vega.js';

export interface Point {
  x: number;
  /** NaN where the line has a gap. */
  y: number;
}

export interface Panel {
  /** Cut where it is wider than the panel. */
  title: string;
  /** A line below it. */
  subtitle?: string;
  /** By line, as many as there are names. */
  lines: readonly (readonly Point[])[];
  /** Dotted lines, and what stands above the part that begins there. */
  marks?: readonly { x: number; label: string }[];
}

export interface LinePanels {
  title: string;
  subtitle: readonly string[];
  /** Of the lines, in the order of their colors. */
  names: readonly string[];
  /** Undefined where a place stays empty. */
  panels: readonly (Panel | undefined)[];
  /** Panels side by side. */
  columns: number;
  xTitle: string;
  yTitle: string;
  /** The horizontal axis tells these alone, and is logarithmic; default as many as have room, at equal distances. */
  xValues?: readonly number[] | undefined;
  width?: number;
  height?: number;
  /** What the vertical axis spans at least. */
  leastSpan?: number;
}

/** Lines over axes of their own below, and common ones at the side, in panels, with one legend for all. */
export async function renderLines(picture: LinePanels): Promise<string> {
  const { title, subtitle, names, panels, columns, xTitle, yTitle, xValues, width = 280, height = 200 } = picture;
  const ys = panels.flatMap((panel) => (panel?.lines ?? []).flatMap((line) => line.map(({ y }) => y)));
  const styles = names.map((_, i) => lineStyle(i));
  const symbolWidth = Math.max(0, ...names.map((name) => textWidth(name, 12))) + 48;
  const chart: Chart = {
    title: { text: title, subtitle: [...subtitle], anchor: 'start', frame: 'bounds', offset: 14, subtitlePadding: 5 },
    layout: { columns, padding: { row: 26, column: 26 }, bounds: 'full', align: 'all' },
    scales: [
      {
        name: 'y',
        type: 'linear',
        domain: niceRange(ys, picture.leastSpan ?? 0),
        nice: true,
        zero: false,
        range: [height, 0],
      },
      { name: 'color', type: 'ordinal', domain: [...names], range: styles.map(({ color }) => color) },
      { name: 'dash', type: 'ordinal', domain: [...names], range: styles.map(({ dash }) => dash) as never },
    ],
    legends: [
      {
        stroke: 'color',
        strokeDash: 'dash',
        symbolType: 'stroke',
        symbolSize: 500,
        symbolStrokeWidth: 2,
        orient: 'bottom',
        direction: 'horizontal',
        columns: Math.max(1, Math.floor((Math.min(columns, panels.length) * (width + 60)) / symbolWidth)),
        offset: 18,
      },
    ],
    marks: panels.map((panel) =>
      panel ? panelMark(panel, names, { xTitle, yTitle, xValues, width, height }) : { type: 'group' },
    ),
  };
  return await renderSvg([title, ...subtitle].join('. '), chart);
}

function panelMark(
  { title, subtitle, lines, marks = [] }: Panel,
  names: readonly string[],
  {
    xTitle,
    yTitle,
    xValues,
    width,
    height,
  }: Pick<LinePanels, 'xTitle' | 'yTitle' | 'xValues'> & {
    width: number;
    height: number;
  },
): Mark {
  const xs = lines.flatMap((line) => line.map(({ x }) => x));
  const [first, last] = niceRange(xs, 1);
  const at = (x: number) => ((x - first) / (last - first)) * width;
  const rows = place(marks.map(({ x, label }) => ({ from: at(x), to: at(x) + textWidth(label, 11) })));
  return {
    type: 'group',
    title: {
      text: lineWithin(title, width, PANEL_TITLE_SIZE, true),
      ...(subtitle !== undefined && { subtitle, subtitlePadding: 4 }),
      anchor: 'start',
      offset: 8,
      frame: 'group',
    },
    encode: { update: { width: { value: width }, height: { value: height } } },
    scales: [
      xValues
        ? { name: 'x', type: 'log', base: 2, domain: [first, last], range: [0, width] }
        : { name: 'x', type: 'linear', domain: [first, last], zero: false, range: [0, width] },
    ],
    axes: [
      { orient: 'left', scale: 'y', grid: true, gridScale: 'x', title: yTitle, tickCount: 6 },
      {
        orient: 'bottom',
        scale: 'x',
        title: xTitle,
        ...(xValues ? { values: [...xValues], format: 'd' } : { tickMinStep: 1, tickCount: 6 }),
      },
    ],
    marks: [
      ...marks.flatMap(({ x, label }, i) => switchMark(at(x), label, height, -8 - 16 * rows[i]!)),
      ...lines.flatMap((line, i) => lineMarks(line, names[i]!, lineStyle(i))),
    ],
  };
}

/** The row of each of several labels: above those that begin below it, so that no label and no line runs through another. */
function place(spans: readonly { from: number; to: number }[]): number[] {
  const rows: number[] = new Array(spans.length).fill(0);
  for (let i = spans.length - 1; i >= 0; i--) {
    for (let j = i + 1; j < spans.length; j++) {
      if (spans[j]!.from < spans[i]!.to + 8) rows[i] = Math.max(rows[i]!, rows[j]! + 1);
    }
  }
  return rows;
}

function switchMark(x: number, label: string, height: number, y: number): Mark[] {
  const rule: RuleMark = {
    type: 'rule',
    encode: {
      update: {
        x: { value: x },
        y: { value: y + 4 },
        y2: { value: height },
        stroke: { value: INK },
        strokeDash: { value: [2, 3] },
      },
    },
  };
  const text: TextMark = {
    type: 'text',
    encode: {
      update: {
        x: { value: x + 3 },
        y: { value: y },
        text: { value: label },
        fontSize: { value: 11 },
        fill: { value: INK },
        baseline: { value: 'bottom' },
      },
    },
  };
  return [rule, text];
}

/** More points than these are no longer seen one by one. */
const DOTTED = 60;

function lineMarks(points: readonly Point[], name: string, { color, dash }: ReturnType<typeof lineStyle>): Mark[] {
  const values = points.map(({ x, y }) => ({ x, y: Number.isFinite(y) ? y : null }));
  const position = { x: { scale: 'x', field: 'x' }, y: { scale: 'y', field: 'y' } };
  const line: LineMark = {
    type: 'line',
    aria: true,
    description: name,
    from: { data: name },
    encode: {
      update: {
        ...position,
        stroke: { value: color },
        strokeWidth: { value: 1.6 },
        strokeDash: { value: dash },
        defined: { signal: 'datum.y !== null' },
      },
    },
  };
  const dots: SymbolMark = {
    type: 'symbol',
    aria: false,
    from: { data: name },
    encode: { update: { ...position, fill: { value: color }, size: { signal: 'datum.y === null ? 0 : 14' } } },
  };
  return [
    {
      type: 'group',
      data: [{ name, values }],
      marks: points.length > DOTTED ? [line] : [line, dots],
    },
  ];
}
