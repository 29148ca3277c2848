import type { GroupMark, Mark } from 'vega';
import { niceRange, RAMP } from './style.js';
import { type Chart, renderSvg } from './vega.js';

/** Tables of numbers of one kind, which share their colors. */
export interface MapGroup {
  title: string;
  maps: readonly ValueMap[];
}

export interface ValueMap {
  title: string;
  /** A line below it. */
  subtitle: string;
  rows: readonly string[];
  columns: readonly string[];
  /** By row, then by column. */
  values: readonly (readonly number[])[];
}

export interface ValueMaps {
  title: string;
  subtitle: readonly string[];
  columnTitle: string;
  groups: readonly MapGroup[];
}

const CELL = { width: 46, height: 26 };
const MAPS_A_LINE = 4;
/** Of the colors: differences below it are not made to look large. */
const LEAST_SPAN = 0.1;

/** Tables with a number and a color in each cell, the darker the more, group below group. */
export async function renderMaps({ title, subtitle, columnTitle, groups }: ValueMaps): Promise<string> {
  const chart: Chart = {
    title: { text: title, subtitle: [...subtitle], anchor: 'start', frame: 'bounds', offset: 14, subtitlePadding: 5 },
    layout: { columns: 1, padding: 34, bounds: 'full', align: 'none' },
    marks: groups.map((group) => groupMark(group, columnTitle)),
  };
  return await renderSvg([title, ...subtitle].join('. '), chart);
}

function groupMark({ title, maps }: MapGroup, columnTitle: string): GroupMark {
  const domain = niceRange(
    maps.flatMap(({ values }) => values.flat()),
    LEAST_SPAN,
  );
  return {
    type: 'group',
    title: { text: title, anchor: 'start', offset: 16, frame: 'bounds' },
    layout: { columns: MAPS_A_LINE, padding: { column: 24, row: 24 }, bounds: 'full', align: 'each' },
    scales: [{ name: 'shade', type: 'linear', domain, range: RAMP, interpolate: 'lab' }],
    legends: [{ fill: 'shade', type: 'gradient', orient: 'right', format: '.2f', offset: 20, gradientLength: 90 }],
    marks: maps.map((map) => mapMark(map, columnTitle)),
  };
}

function mapMark({ title, subtitle, rows, columns, values }: ValueMap, columnTitle: string): Mark {
  const cells = rows.flatMap((row, r) => columns.map((column, c) => ({ row, column, value: values[r]![c]! })));
  const width = CELL.width * columns.length;
  const height = CELL.height * rows.length;
  const center = { x: { scale: 'x', field: 'column', band: 0.5 }, y: { scale: 'y', field: 'row', band: 0.5 } };
  const shade = "scale('shade', datum.value)";
  return {
    type: 'group',
    title: {
      text: title,
      subtitle,
      anchor: 'start',
      fontSize: 12,
      fontWeight: 'bold',
      subtitleFontSize: 11,
      subtitlePadding: 3,
      frame: 'group',
    },
    data: [{ name: 'cells', values: cells }],
    encode: { update: { width: { value: width }, height: { value: height } } },
    scales: [
      { name: 'x', type: 'band', domain: [...columns], range: [0, width] },
      { name: 'y', type: 'band', domain: [...rows], range: [0, height] },
    ],
    axes: [
      { orient: 'left', scale: 'y', ticks: false, domain: false, labelPadding: 6, labelOverlap: false },
      { orient: 'bottom', scale: 'x', ticks: false, domain: false, title: columnTitle },
    ],
    marks: [
      {
        type: 'rect',
        from: { data: 'cells' },
        encode: {
          update: {
            x: { scale: 'x', field: 'column' },
            y: { scale: 'y', field: 'row' },
            width: { value: CELL.width - 1 },
            height: { value: CELL.height - 1 },
            fill: { scale: 'shade', field: 'value' },
          },
        },
      },
      {
        type: 'text',
        from: { data: 'cells' },
        encode: {
          update: {
            ...center,
            align: { value: 'center' },
            baseline: { value: 'middle' },
            fontSize: { value: 11 },
            text: { signal: "format(datum.value, '.2f')" },
            fill: { signal: `contrast('white', ${shade}) > contrast('black', ${shade}) ? 'white' : 'black'` },
          },
        },
      },
    ],
  };
}
