/** Mean gates as a self-contained SVG: one panel a stitch, one row a domain, one column a member. */
import { DIRECTIONS } from '../model/stitches/directions/index.js';
import type { MeanGates } from './mean-gates.js';
import { escapeXml, svgDocument } from './svg.js';

const CELL = { width: 58, height: 26 };
const MARGIN = { left: 96, top: 44, gap: 28, panelTop: 64 };
const PANELS_A_LINE = 2;

/** Draws what `meanGates` found for a model with these members, the hub first. */
export function renderGates(title: string, members: readonly string[], means: readonly MeanGates[]): string {
  const domains = [...new Set(means.map(({ domain }) => domain))];
  const stitches = means.filter(({ domain }) => domain === domains[0]).map(({ stitch }) => stitch);
  const panel = {
    width: members.length * CELL.width + MARGIN.gap,
    height: MARGIN.panelTop + domains.length * CELL.height + MARGIN.gap,
  };
  const lines = Math.ceil(stitches.length / PANELS_A_LINE);
  const width = MARGIN.left + Math.min(PANELS_A_LINE, stitches.length) * panel.width;
  const height = MARGIN.top + lines * panel.height;
  const parts: string[] = [];
  for (const [s, stitch] of stitches.entries()) {
    const column = s % PANELS_A_LINE;
    const left = MARGIN.left + column * panel.width;
    const top = MARGIN.top + Math.floor(s / PANELS_A_LINE) * panel.height + MARGIN.panelTop;
    parts.push(`<text x="${left}" y="${top - 44}" font-weight="bold">after layer ${stitch.afterLayer}</text>`);
    parts.push(`<text x="${left}" y="${top - 28}" fill="#555" font-size="11">${DIRECTIONS[stitch.kind].title}</text>`);
    for (const [m, member] of members.entries()) {
      const x = left + (m + 0.5) * CELL.width;
      parts.push(`<text x="${x}" y="${top - 8}" text-anchor="middle" font-size="11">${escapeXml(member)}</text>`);
    }
    for (const [d, domain] of domains.entries()) {
      const y = top + d * CELL.height;
      if (column === 0) {
        parts.push(`<text x="${left - 10}" y="${y + 17}" text-anchor="end">${escapeXml(domain)}</text>`);
      }
      const { gates } = means.filter((mean) => mean.domain === domain)[s]!;
      const { firstGated } = DIRECTIONS[stitch.kind];
      for (const [m, gate] of gates.entries()) {
        parts.push(cell(left + m * CELL.width, y, m < firstGated ? null : gate));
      }
    }
  }
  return svgDocument(title, width, height, parts);
}

/** The darker the more; empty where a member has no gate. */
function cell(x: number, y: number, gate: number | null): string {
  const box = `x="${x}" y="${y}" width="${CELL.width - 2}" height="${CELL.height - 2}"`;
  if (gate === null) return `<rect ${box} fill="#f4f4f4"/>`;
  const blend = (light: number, dark: number) => Math.round(light + (dark - light) * Math.min(1, gate));
  const fill = `rgb(${blend(240, 0)},${blend(246, 60)},${blend(252, 120)})`;
  const ink = gate > 0.45 ? 'white' : '#222';
  const at = `x="${x + CELL.width / 2 - 1}" y="${y + 16}"`;
  return `<rect ${box} fill="${fill}"/><text ${at} text-anchor="middle" fill="${ink}">${gate.toFixed(2)}</text>`;
}
