/** The tokens of an answer as text: each tinted by the member that leads, each to be looked at. */
import { made } from './dom.js';
import { leaderOf } from './gates.js';

/** @import { TokenGates } from '../../model/stitches/gate-log.js' */
/** @import { Members } from './gates.js' */

/**
 * What is told when somebody looks at a token, or, with undefined, no longer.
 * @callback Look
 * @param {number | undefined} token
 * @param {'passing' | 'chosen' | 'by key'} how
 */

export class TokenText {
  /** @type {HTMLSpanElement[]} */
  #spans = [];
  /** @type {HTMLSpanElement | undefined} */
  #marked;

  /**
   * @param {HTMLElement} element
   * @param {Members} members
   * @param {Look} look
   */
  constructor(element, members, look) {
    this.element = element;
    this.members = members;
    this.look = look;
  }

  /**
   * @param {string} text
   * @param {TokenGates | undefined} gates
   * @param {number} stitch by whose gates it is tinted
   */
  append(text, gates, stitch) {
    if (!gates) {
      this.element.append(text);
      return;
    }
    if (this.#spans.length === 0) this.#listen();
    const span = made('span', {}, text);
    this.#spans.push(span);
    this.tint(this.#spans.length - 1, gates, stitch);
    this.element.append(span);
  }

  /**
   * @param {number} token
   * @param {TokenGates} gates
   * @param {number} stitch
   */
  tint(token, gates, stitch) {
    const span = this.#spans[token];
    if (!span) return;
    const leader = leaderOf(gates, stitch);
    span.className = leader ? `token ${this.members.lookOf(leader.name)}` : 'token';
    span.classList.toggle('break', span.textContent.startsWith('\n'));
    span.classList.toggle('at', span === this.#marked);
    span.style.setProperty('--lead', (leader?.lead ?? 0).toFixed(3));
  }

  /** Marks the token that is looked at; with undefined none. */
  mark(/** @type {number | undefined} */ token) {
    this.#marked?.classList.remove('at');
    this.#marked = token === undefined ? undefined : this.#spans[token];
    this.#marked?.classList.add('at');
  }

  #listen() {
    const { element, look } = this;
    element.tabIndex = 0;
    element.setAttribute('role', 'group');
    element.setAttribute('aria-label', 'Answer. Arrow keys go from token to token.');
    const tokenOf = (/** @type {Event} */ { target }) => {
      const at = this.#spans.indexOf(/** @type {HTMLSpanElement} */ (target));
      return at < 0 ? undefined : at;
    };
    element.addEventListener('pointerover', (event) => {
      if (event.pointerType === 'mouse') look(tokenOf(event), 'passing');
    });
    element.addEventListener('pointerleave', () => look(undefined, 'passing'));
    element.addEventListener('click', (event) => look(tokenOf(event), 'chosen'));
    element.addEventListener('keydown', (event) => {
      const last = this.#spans.length - 1;
      const now = this.#marked ? this.#spans.indexOf(this.#marked) : last + 1;
      const to = { ArrowLeft: now - 1, ArrowRight: this.#marked ? now + 1 : 0, Home: 0, End: last }[event.key];
      if (event.key === 'Escape') look(undefined, 'chosen');
      if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      look(Math.min(last, Math.max(0, to)), 'by key');
      this.#marked?.scrollIntoView({ block: 'nearest' });
    });
  }
}
