/** The colors of pictures as a stylesheet, for light and dark. */
import { COLORS, DARK, DASHES, INK, TINT } from '../../plots/style.js';

/** As many members look different from each other, in color or dashes; then they repeat (page/gates.js). */
const LOOKS = 12;

const percent = (part: number) => `${Math.round(100 * part)}%`;

/** `.member-0` to `.member-11`: a color, the dashes of a line, and the same dashes as an image to underline with. */
export function paletteSheet(): string {
  const dashes = Array.from({ length: LOOKS }, (_, i) => {
    const dash = DASHES[i % DASHES.length]!;
    return `.member-${i} { --dash: ${dash.join(' ') || 'none'}; --underline: ${gradient(dash)}; }`;
  });
  const lines = [
    ':root { color-scheme: light dark; }',
    ...dashes,
    ...colors({ background: 'white', ink: INK, colors: COLORS, tint: TINT }),
    '@media (prefers-color-scheme: dark) {',
    ...colors(DARK),
    '}',
  ];
  return `${lines.join('\n')}\n`;
}

interface Palette {
  background: string;
  ink: string;
  colors: readonly string[];
  tint: typeof TINT;
}

function colors({ background, ink, colors, tint: { least, most } }: Palette): string[] {
  const tints = `--tint-least: ${percent(least)}; --tint-more: ${percent(most - least)};`;
  const members = Array.from({ length: LOOKS }, (_, i) => `.member-${i} { --color: ${colors[i % colors.length]}; }`);
  return [`:root { --background: ${background}; --ink: ${ink}; ${tints} }`, ...members];
}

/** As long as the dashes and gaps are, in turn. */
function gradient(dash: readonly number[]): string {
  let at = 0;
  const stops = (dash.length > 0 ? dash : [1]).map((length, i) => {
    const from = at;
    at += length;
    return `${i % 2 === 0 ? 'var(--color)' : 'transparent'} ${from}px ${at}px`;
  });
  return `repeating-linear-gradient(90deg, ${stops.join(', ')})`;
}
