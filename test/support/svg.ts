/** Reads pictures as SVG renderers do, strictly: what is not well-formed is refused. */
import * as assert from 'uvu/assert';
import { textWidth } from '../../lib/plots/text-width.js';

export interface SvgText {
  text: string;
  /** The corners of what it takes, in the picture's pixels. */
  left: number;
  right: number;
  top: number;
  bottom: number;
  fill: string;
}

export interface Svg {
  width: number;
  height: number;
  texts: SvgText[];
  /** Curves: how many points each has, its color and its dashes. */
  lines: { points: number; stroke: string; dashes: string }[];
  fills: Set<string>;
}

interface Element {
  name: string;
  attributes: Map<string, string>;
  /** From its own coordinates to the picture's: x' = a x + c y + e, y' = b x + d y + f. */
  matrix: readonly [number, number, number, number, number, number];
  /** Of a text in several lines: where the last one stands below the first. */
  below: number;
}

const NAME = '[A-Za-z_][\\w:.-]*';
const TOKEN = new RegExp(`<(/?)(${NAME})((?:\\s+${NAME}="[^"<]*")*)\\s*(/?)>|([^<]+)`, 'gy');

/** Throws where a picture is no XML, or has something that is not in itself. */
export function readSvg(source: string): Svg {
  const svg: Svg = { width: 0, height: 0, texts: [], lines: [], fills: new Set() };
  const open: Element[] = [];
  let end = 0;
  for (const match of source.matchAll(TOKEN)) {
    end = match.index + match[0].length;
    const [, closing, name = '', rest = '', empty, text] = match;
    if (text !== undefined) {
      const inside = open.at(-1);
      if (!inside) assert.is(text.trim(), '', 'text outside of the picture');
      if (inside?.name === 'text' || inside?.name === 'tspan') svg.texts.push(placed(unescaped(text), inside));
      else unescaped(text);
    } else if (closing) {
      assert.is(open.pop()?.name, name, `</${name}> closes another element`);
    } else {
      const element = elementOf(name, rest, open.at(-1));
      note(svg, element);
      if (!empty) open.push(element);
    }
  }
  assert.is(end, source.length, `no XML from character ${end} on: ${source.slice(end, end + 80)}`);
  assert.equal(open, [], 'elements are left open');
  assert.not.match(source, /NaN|undefined|<script|<foreignObject|href="(?!#)|url\((?!#)/);
  return svg;
}

function elementOf(name: string, rest: string, outer: Element | undefined): Element {
  const attributes = new Map<string, string>();
  for (const [, key, value] of rest.matchAll(new RegExp(`(${NAME})="([^"<]*)"`, 'g'))) {
    assert.not.ok(attributes.has(key!), `<${name}> has ${key} twice`);
    attributes.set(key!, unescaped(value!));
  }
  const matrix = transformed(outer?.matrix ?? [1, 0, 0, 1, 0, 0], attributes.get('transform') ?? '');
  if (name !== 'tspan') return { name, attributes, matrix, below: 0 };
  outer!.below += Number(attributes.get('dy') ?? 0);
  const moved = transformed(matrix, `translate(${attributes.get('x') ?? 0},${outer!.below})`);
  return { name, attributes: new Map([...outer!.attributes, ...attributes]), matrix: moved, below: 0 };
}

function transformed(matrix: Element['matrix'], transform: string): Element['matrix'] {
  let [a, b, c, d, e, f] = matrix;
  for (const [, kind, list] of transform.matchAll(/(\w+)\(([^)]*)\)/g)) {
    const [x = 0, y = 0] = list!.split(/[ ,]+/).map(Number);
    if (kind === 'translate') [e, f] = [a * x + c * y + e, b * x + d * y + f];
    else if (kind === 'rotate') {
      const [cos, sin] = [Math.cos((x * Math.PI) / 180), Math.sin((x * Math.PI) / 180)];
      [a, b, c, d] = [a * cos + c * sin, b * cos + d * sin, c * cos - a * sin, d * cos - b * sin];
    } else throw new Error(`the reader does not know the transform ${kind}`);
  }
  return [a, b, c, d, e, f];
}

function note(svg: Svg, { name, attributes }: Element): void {
  if (name === 'svg') {
    const [, , width, height] = attributes.get('viewBox')!.split(' ').map(Number);
    [svg.width, svg.height] = [width!, height!];
  }
  const fill = attributes.get('fill');
  if (fill?.startsWith('#') || fill?.startsWith('rgb')) svg.fills.add(fill);
  const path = attributes.get('d') ?? '';
  const points = path.match(/[ML]/g)?.length ?? 0;
  if (
    name === 'path' &&
    points > 1 &&
    attributes.has('stroke') &&
    !path.includes('Z') &&
    attributes.get('stroke-width') === '1.6'
  ) {
    svg.lines.push({ points, stroke: attributes.get('stroke')!, dashes: attributes.get('stroke-dasharray') ?? '' });
  }
}

function placed(text: string, { attributes, matrix }: Element): SvgText {
  const size = Number.parseFloat(attributes.get('font-size') ?? '11');
  const width = textWidth(text, size, attributes.get('font-weight') === 'bold');
  const anchor = attributes.get('text-anchor') ?? 'start';
  const from = anchor === 'end' ? -width : anchor === 'middle' ? -width / 2 : 0;
  const [a, b, c, d, e, f] = matrix;
  const corners = [
    [from, -0.75 * size],
    [from + width, -0.75 * size],
    [from, 0.2 * size],
    [from + width, 0.2 * size],
  ].map(([x, y]) => [a * x! + c * y! + e, b * x! + d * y! + f] as const);
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { text, left, right, top, bottom, fill: attributes.get('fill') ?? 'black' };
}

function unescaped(text: string): string {
  return text.replace(/&([^;\s]*);?/g, (entity, name: string) => {
    const known: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
    const character = /^#\d+$/.test(name) ? String.fromCodePoint(Number(name.slice(1))) : known[name];
    assert.ok(character !== undefined && entity.endsWith(';'), `${entity} is no entity`);
    return character!;
  });
}

/** Expects every label inside of the picture. */
export function expectInside({ texts, width, height }: Svg): void {
  for (const { text, left, right, top, bottom } of texts) {
    assert.ok(
      left >= 0 && right <= width && top >= 0 && bottom <= height,
      `'${text}' is cut off: ${[left, right, top, bottom]}`,
    );
  }
}

/** Expects no label upon another. */
export function expectApart({ texts }: Svg): void {
  for (const [i, a] of texts.entries()) {
    for (const b of texts.slice(i + 1)) {
      const overlaps = a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      assert.not.ok(overlaps, `'${a.text}' and '${b.text}' stand upon each other`);
    }
  }
}

/** By how much two colors differ in brightness, from 1 to 21 (WCAG 2.2). */
export function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

export function channels(color: string): number[] {
  const hex = { white: '#ffffff', black: '#000000' }[color] ?? color;
  if (hex.startsWith('#')) return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  return hex.match(/\d+/g)!.slice(0, 3).map(Number);
}

function luminance(color: string): number {
  const [red = 0, green = 0, blue = 0] = channels(color).map((value) => linear(value / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

export const linear = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
