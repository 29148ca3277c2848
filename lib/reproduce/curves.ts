import { type Point, renderLines } from '../plots/line-panels.js';

export interface Curve {
  title: string;
  /** Tokens trained on, and loss. */
  points: readonly Point[];
}

/** Learning curves as a self-contained SVG, the lowest end first among their names. */
export async function renderCurves(title: string, curves: readonly Curve[]): Promise<string> {
  const drawn = curves.filter(({ points }) => points.length > 1);
  const ordered = [...drawn].sort((a, b) => a.points.at(-1)!.y - b.points.at(-1)!.y);
  return await renderLines({
    title,
    subtitle: ['In the legend the loss at the end, the lowest first'],
    names: ordered.map(({ title, points }) => `${title} ${points.at(-1)!.y.toFixed(3)}`),
    panels: [{ title: '', lines: ordered.map(({ points }) => points.map(({ x, y }) => ({ x: x / 1000, y }))) }],
    columns: 1,
    xTitle: 'thousand tokens',
    yTitle: 'loss',
    width: 640,
    height: 380,
  });
}
