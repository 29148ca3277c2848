/** The colors of pictures as a stylesheet, for light and dark. */
import { COLORS, DARK, DASHES, INK, TINT } from '../../plots/style.js';

/** As many members look different from each other, in color or dashes; then they repeat. */
export const LOOKS = 12;

const percent = (part: number) => `${Math.round(100 * part)}%`;

/** `.member-0` to `.member-11`: a color, the dashes of a line, and the same dashes as an image to underline with. */
export function paletteSheet(): string {
  const dashes = Array.from({ length: LOOKS }, (_, i) => {
    const dash = DASHES[i % DASHES.length]!;
    return `.member-${i} { --dash: ${dash.join(' ') || 'none'}; --underline: ${gradient(dash)}; }`;
  });
  return `${[
    `:root { color-scheme: light dark; --tint-least: ${percent(TINT.least)}; --tint-more: ${percent(TINT.most - TINT.least)}; }`,
    ...dashes,
    ...colors('white', INK, COLORS),
    '@media (prefers-color-scheme: dark) {',
    ...colors(DARK.background, DARK.ink, DARK.colors),
    '}',
  ].join('\n')}\n`;
}

function colors(background: string, ink: string, ofLines: readonly string[]): string[] {
  const members = Array.from({ length: LOOKS }, (_, i) => {
    return `.member-${i} { --color: ${ofLines[i % ofLines.length]}; }`;
  });
  return [`:root { --background: ${background}; --ink: ${ink}; }`, ...members];
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
