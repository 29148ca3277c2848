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

/** A text in which ends of lines and tabs are seen, too; what is copied is the text itself. */
const visible = (/** @type {string} */ text) =>
  text.split(/(?=[\n\t])/).flatMap((part) => {
    if (part.startsWith('\n')) return [made('i', { className: 'end-of-line' }), part];
    return part.startsWith('\t') ? [made('i', { className: 'tab' }), part] : [part];
  });

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
    const span = made('span', {}, ...visible(text));
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
      const token = target instanceof HTMLElement ? target.closest('span') : null;
      const at = token ? this.#spans.indexOf(token) : -1;
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
