/**
 * The one file that knows the plotting library, Vega, which lays out and measures without a DOM. The published package has it
 * bundled into this file (native/packaging/dist.ts): installed, Vega and what it depends on are 60 packages of 16 MB; bundled 0.5 MB.
 */
import * as vega from 'vega';
import { CHART_STYLE } from './style.js';
import { textWidth } from './text-width.js';

export type Chart = Omit<vega.Spec, '$schema' | 'config' | 'autosize' | 'padding'>;

/** What Vega measures with, which its types leave out. */
const { textMetrics } = vega as unknown as {
  textMetrics: {
    width: (item: { text?: unknown; fontSize?: number; fontWeight?: string | number }, text?: unknown) => number;
  };
};
// Without a canvas it would take 0.8 of the font size for each character, whichever it is.
textMetrics.width = (item, text) =>
  textWidth(`${text ?? item.text ?? ''}`, item.fontSize ?? 11, item.fontWeight === 'bold');

/** A self-contained SVG. `title` is what is read out in place of the picture. */
export async function renderSvg(title: string, chart: Chart): Promise<string> {
  const runtime = vega.parse({ background: 'white', padding: 16, autosize: 'pad', ...chart }, CHART_STYLE);
  const view = new vega.View(runtime, { renderer: 'none' });
  try {
    const svg = await view.toSVG();
    return `${svg.replace('>', ` role="img"><title>${escapeXml(title)}</title>`)}\n`;
  } finally {
    view.finalize();
  }
}

export const escapeXml = (text: string) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
