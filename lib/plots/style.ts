import type { Config } from 'vega';

/** Of text. */
export const INK = '#1a1a1a';
const FAINT = '#d9d9d9';
/** Of the titles of panels and maps. */
export const PANEL_TITLE_SIZE = 13;
const FONT = 'Helvetica, Arial, DejaVu Sans, sans-serif';

/**
 * Colors of lines on white, told apart by contrast (4.5 : 1 at least against white) and by all common kinds of color blindness:
 * any two are more than 25 apart in CIELAB under each (Machado et al. 2009). Beyond them, dashes tell.
 */
export const COLORS: readonly string[] = [INK, '#0072b2', '#b34700', '#9000f0', '#787860', '#601860'];
const DASHES: readonly number[][] = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

/** How the i-th of several lines is drawn. Lines differ in dashes, too, where there are more than colors. */
export function lineStyle(i: number): { color: string; dash: number[] } {
  return { color: COLORS[i % COLORS.length]!, dash: DASHES[Math.floor(i / COLORS.length) % DASHES.length]! };
}

/** From little to much; either black or white text is read on each color between. */
export const RAMP = ['#f3f7fb', '#0b3c68'];

/** A range that holds all values, of whole steps, and is no narrower than `least`. */
export function niceRange(values: readonly number[], least: number): [number, number] {
  const finite = values.filter(Number.isFinite);
  const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low > high) return [0, 1];
  const missing = Math.max(0, least - (high - low));
  return [low - missing / 2, high + missing / 2];
}

export const CHART_STYLE: Config = {
  title: {
    font: FONT,
    color: INK,
    fontSize: 15,
    subtitleColor: INK,
    subtitleFont: FONT,
    subtitleFontSize: 12,
    limit: 0,
  },
  axis: {
    labelFont: FONT,
    labelColor: INK,
    labelFontSize: 11,
    labelLimit: 0,
    labelOverlap: true,
    titleFont: FONT,
    titleColor: INK,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titleLimit: 0,
    gridColor: FAINT,
    domainColor: INK,
    tickColor: INK,
  },
  legend: {
    labelFont: FONT,
    labelColor: INK,
    labelFontSize: 12,
    labelLimit: 0,
    titleFont: FONT,
    titleColor: INK,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titleLimit: 0,
  },
  style: {
    'group-title': { font: FONT, fill: INK, fontSize: PANEL_TITLE_SIZE, limit: 0 },
    text: { font: FONT },
  } as Config['style'] & object,
};

/** A color with white in it: `part` of it, from 0 to 1. */
export function mixed(color: string, part: number): string {
  const channels = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  return `#${channels
    .map((value) =>
      Math.round(255 + (value - 255) * part)
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`;
}
