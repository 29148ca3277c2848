/** Gates token by token: a line a member, over as many tokens as there are. */
import { drawn } from './dom.js';
import { gatesAt, meaningOf } from './gates.js';
import { countTicks, valueAxis } from './scale.js';

/** @import { TokenGates } from '../../model/stitches/gate-log.js' */
/** @import { Members } from './gates.js' */

/** Room for the labels of both axes. */
const EDGE = { left: 44, right: 10, top: 8, bottom: 20 };
/** Tokens that stand nearer have thin lines. */
const CROWDED = 3;
const PIXELS_A_TICK = { across: 64, up: 22 };

export class Chart {
  /** @type {{ first: number, step: number } | undefined} */
  #across;

  /** The size that it has on the page is that of the picture. */
  constructor(/** @type {SVGSVGElement} */ svg) {
    this.svg = svg;
  }

  /**
   * @param {readonly TokenGates[]} tokens
   * @param {{ stitch: number, at: number, members: Members }} options `at` is the token that is looked at
   */
  draw(tokens, { stitch, at, members }) {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width === 0) return;
    const lines = linesOf(tokens, stitch);
    const values = [...lines.values()].flatMap((points) => points.map(({ gate }) => gate));
    const axis = valueAxis(values, (height - EDGE.top - EDGE.bottom) / PIXELS_A_TICK.up);
    const [right, bottom] = [width - EDGE.right, height - EDGE.bottom];
    const step = (right - EDGE.left) / Math.max(1, tokens.length - 1);
    this.#across = { first: EDGE.left, step };
    const x = (/** @type {number} */ t) => round(EDGE.left + t * step);
    const y = (/** @type {number} */ gate) =>
      round(bottom - ((gate - axis.low) / (axis.high - axis.low)) * (bottom - EDGE.top));

    const rules = axis.ticks.flatMap(({ at, label }) => [
      drawn('line', { class: 'grid', x1: EDGE.left, x2: right, y1: y(at), y2: y(at) }),
      drawn('text', { x: EDGE.left - 6, y: y(at) + 4, 'text-anchor': 'end' }, label),
    ]);
    const numbers = countTicks(tokens.length, (right - EDGE.left) / PIXELS_A_TICK.across).map((n) =>
      drawn('text', { x: x(n - 1), y: height - 4, 'text-anchor': 'middle' }, `${n}`),
    );
    const cursor = drawn('line', { class: 'cursor', x1: x(at), x2: x(at), y1: EDGE.top, y2: bottom });
    const curves = [...lines].map(([name, points]) => {
      const [first, ...rest] = points.map(({ token, gate }) => `${x(token)} ${y(gate)}`);
      const path = `M${first}${rest.map((point) => `L${point}`).join('')}${rest.length === 0 ? 'h0' : ''}`;
      return drawn('path', {
        class: `curve ${members.lookOf(name)}`,
        'stroke-width': step < CROWDED ? 1 : 2,
        'data-member': name,
        d: path,
      });
    });
    const dots = [...lines].flatMap(([name, points]) => {
      const there = points.find(({ token }) => token === at);
      if (!there) return [];
      return drawn('circle', { class: members.lookOf(name), cx: x(at), cy: y(there.gate), r: 4 });
    });
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...rules, ...numbers, cursor, ...curves, ...dots);
    const [shown] = tokens[0]?.stitches.slice(stitch) ?? [];
    const meaning = shown ? meaningOf(shown) : '';
    this.svg.setAttribute('aria-label', `${meaning}, by token: lines for ${[...lines.keys()].join(', ')}`);
  }

  /** The token, counted from 0, that stands nearest to a place on the screen. */
  tokenAt(/** @type {number} */ clientX) {
    if (!this.#across) return undefined;
    return Math.round((clientX - this.svg.getBoundingClientRect().left - this.#across.first) / this.#across.step);
  }
}

const round = (/** @type {number} */ value) => Math.round(10 * value) / 10;

/**
 * By member its points. Of a sparse model not every token has each.
 * @param {readonly TokenGates[]} tokens
 * @param {number} stitch
 */
function linesOf(tokens, stitch) {
  /** @type {Map<string, { token: number, gate: number }[]>} */
  const lines = new Map();
  for (const [token, gates] of tokens.entries()) {
    for (const { name, gate } of gatesAt(gates, stitch)) {
      const line = lines.get(name);
      if (line) line.push({ token, gate });
      else lines.set(name, [{ token, gate }]);
    }
  }
  return lines;
}
