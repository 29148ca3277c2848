/** The gates of one answer: its chart, and of one token all members at each stitch. */
import { Chart } from './chart.js';
import { cloned, made, part } from './dom.js';
import { onceAFrame } from './frame.js';
import { gateRows } from './gate-table.js';
import { meaningOf, placeOf, told } from './gates.js';

/** @import { Answer } from './answer.js' */

export class GateView {
  #inside = cloned('gates');
  #stitch = part(this.#inside, 'stitch', HTMLSelectElement);
  #slider = part(this.#inside, 'slider', HTMLInputElement);
  #chart;
  /** @type {Answer | undefined} */
  #answer;

  constructor(/** @type {HTMLElement} */ element) {
    this.element = element;
    element.append(this.#inside);
    const svg = part(this.#inside, 'chart', SVGSVGElement);
    this.#chart = new Chart(svg);
    new ResizeObserver(() => this.refresh()).observe(svg);
    const look = (/** @type {number | undefined} */ token, /** @type {'chosen' | 'passing'} */ how) => {
      this.#answer?.look(token, how);
      this.refresh();
    };
    this.#slider.addEventListener('input', () => look(this.#slider.valueAsNumber - 1, 'chosen'));
    svg.addEventListener('pointermove', ({ clientX }) => look(this.#chart.tokenAt(clientX), 'passing'));
    svg.addEventListener('pointerleave', () => look(undefined, 'passing'));
    svg.addEventListener('click', ({ clientX }) => look(this.#chart.tokenAt(clientX), 'chosen'));
    this.#stitch.addEventListener('change', () => {
      this.#answer?.show(this.#stitch.selectedIndex);
      this.refresh();
    });
  }

  show(/** @type {Answer | undefined} */ answer) {
    this.#answer = answer;
    this.refresh();
  }

  refresh = onceAFrame(() => this.#draw());

  #draw() {
    const answer = this.#answer;
    const gates = answer?.gates[answer.at];
    this.element.hidden = !gates;
    if (!answer || !gates) return;
    const { at, stitch, texts } = answer;
    const { members } = answer.options;
    const [shown] = gates.stitches.slice(stitch);
    this.#offerStitches(answer);
    this.#part('meaning').textContent = shown ? meaningOf(shown) : '';
    this.#chart.draw(answer.gates, { stitch, at, members });

    const name = answer.nameOf(at);
    this.#slider.max = `${texts.length}`;
    this.#slider.value = `${at + 1}`;
    this.#slider.setAttribute('aria-valuetext', `${at + 1} of ${texts.length}, ${told(name, gates, stitch)}`);
    this.#part('caption').replaceChildren(made('strong', {}, name), `token ${at + 1} of ${texts.length}`);
    const { head, rows } = gateRows(gates, stitch, members);
    this.#part('head').replaceChildren(head);
    this.#part('body').replaceChildren(...rows);
  }

  #part(/** @type {string} */ name) {
    return part(this.#inside, name, HTMLElement);
  }

  #offerStitches(/** @type {Answer} */ { gates, stitch }) {
    const places = (gates[0]?.stitches ?? []).map(placeOf);
    const offered = [...this.#stitch.options].map(({ text }) => text);
    if (places.join() !== offered.join()) this.#stitch.replaceChildren(...places.map((place) => new Option(place)));
    if (this.#stitch.selectedIndex !== stitch) this.#stitch.selectedIndex = stitch;
  }
}
