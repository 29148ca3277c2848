/** Colors '#rrggbb' as terminals are told them. */

/** Bits of a color that a stream shows, as Node.js finds them: 1 for none, as NO_COLOR wants, and where it is no terminal. */
export type ColorDepth = 1 | 4 | 8 | 24;

export function colorDepth(stream: { isTTY?: boolean; getColorDepth?(): number }): ColorDepth {
  return stream.isTTY && stream.getColorDepth ? (stream.getColorDepth() as ColorDepth) : 1;
}

/** A text in one color on another, line by line; as it is where there are fewer than 256. */
export function painted(text: string, foreground: string, background: string, depth: ColorDepth): string {
  if (depth < 8) return text;
  const code = (color: string) => (depth === 24 ? `2;${channels(color).join(';')}` : `5;${nearest(color)}`);
  const [begin, end] = [`\x1b[38;${code(foreground)};48;${code(background)}m`, '\x1b[39;49m'];
  // A line end would color the rest of the line.
  return text.replace(/[^\n]+/g, (line) => begin + line + end);
}

const channels = (color: string) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));

const LEVELS = [0, 95, 135, 175, 215, 255];
/** The palette of 256 colors but the first 16, which users change: a cube, and grays. */
const PALETTE: readonly (readonly number[])[] = [
  ...LEVELS.flatMap((r) => LEVELS.flatMap((g) => LEVELS.map((b) => [r, g, b]))),
  ...Array.from({ length: 24 }, (_, i) => new Array<number>(3).fill(8 + 10 * i)),
];

function nearest(color: string): number {
  const wanted = channels(color);
  const distances = PALETTE.map((own) => own.reduce((sum, value, c) => sum + (value - wanted[c]!) ** 2, 0));
  return 16 + distances.indexOf(Math.min(...distances));
}
