/** Learning curves as a self-contained SVG. */
import { escapeXml, svgDocument } from '../gates/svg.js';

export interface Curve {
  title: string;
  /** Tokens trained on, and loss. */
  points: readonly { x: number; y: number }[];
}

const WIDTH = 860;
const HEIGHT = 460;
const PLOT = { left: 64, top: 40, right: 620, bottom: 404 };
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000', '#999999'];
const DASHES = ['', '6 3', '2 3'];

/** Draws curves over a common pair of axes, with their names beside, the lowest end first. */
export function renderCurves(title: string, curves: readonly Curve[]): string {
  const drawn = curves.filter(({ points }) => points.length > 1);
  const all = drawn.flatMap(({ points }) => points);
  const xs = range(
    all.map(({ x }) => x),
    true,
  );
  const ys = range(
    all.map(({ y }) => y),
    false,
  );
  const x = (value: number) => PLOT.left + ((value - xs.low) / (xs.high - xs.low)) * (PLOT.right - PLOT.left);
  const y = (value: number) => PLOT.bottom - ((value - ys.low) / (ys.high - ys.low)) * (PLOT.bottom - PLOT.top);
  const ordered = [...drawn].sort((a, b) => a.points.at(-1)!.y - b.points.at(-1)!.y);

  const parts: string[] = [];
  for (const tick of ticks(ys)) {
    const at = y(tick).toFixed(1);
    parts.push(`<line x1="${PLOT.left}" x2="${PLOT.right}" y1="${at}" y2="${at}" stroke="#ddd"/>`);
    parts.push(`<text x="${PLOT.left - 8}" y="${at}" dy="4" text-anchor="end">${Number(tick.toPrecision(4))}</text>`);
  }
  for (const tick of ticks(xs)) {
    const at = x(tick).toFixed(1);
    parts.push(
      `<text x="${at}" y="${PLOT.bottom + 18}" text-anchor="middle">${Number((tick / 1000).toPrecision(4))}</text>`,
    );
  }
  parts.push(`<path d="M${PLOT.left} ${PLOT.top}V${PLOT.bottom}H${PLOT.right}" fill="none" stroke="#333"/>`);
  const middle = (PLOT.left + PLOT.right) / 2;
  parts.push(`<text x="${middle}" y="${HEIGHT - 14}" text-anchor="middle">thousand tokens</text>`);
  parts.push(`<text x="${PLOT.right + 44}" y="${PLOT.top}" fill="#666">loss at the end</text>`);
  for (const [i, { title: name, points }] of ordered.entries()) {
    const color = COLORS[i % COLORS.length];
    const dash = DASHES[Math.floor(i / COLORS.length) % DASHES.length];
    const style = `stroke="${color}" stroke-width="2"${dash ? ` stroke-dasharray="${dash}"` : ''}`;
    const path = points.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" ${style}/>`);
    const at = PLOT.top + 20 + 18 * i;
    parts.push(`<line x1="${PLOT.right + 16}" x2="${PLOT.right + 38}" y1="${at - 4}" y2="${at - 4}" ${style}/>`);
    parts.push(`<text x="${PLOT.right + 44}" y="${at}">${escapeXml(name)} ${points.at(-1)!.y.toFixed(3)}</text>`);
  }
  return svgDocument(title, WIDTH, HEIGHT, parts);
}

function range(values: readonly number[], fromZero: boolean): { low: number; high: number } {
  const low = fromZero ? 0 : Math.min(...values);
  const high = Math.max(...values);
  return high > low ? { low, high } : { low, high: low + 1 };
}

/** Round numbers within a range, four to nine of them. */
function ticks({ low, high }: { low: number; high: number }): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough)!;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}
