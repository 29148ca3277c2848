/** A conversation with the model, some of its experts switched off or none. */
import { Answer } from './answer.js';
import { ask } from './api.js';
import { cloned, made, part } from './dom.js';
import { onceAFrame } from './frame.js';
import { GateView } from './gate-view.js';
import { Members, told } from './gates.js';
import { Follower } from './scrolling.js';

/** @import { Message, Model, Question, Sampling } from './api.js' */
/** @typedef {{ prompt: string, isChat: boolean, sampling: Sampling }} Asked */

export class Pane {
  element = cloned('pane');
  /** @type {Answer[]} */
  answers = [];
  /** Experts that are switched off. @type {Set<string>} */
  off = new Set();
  #log = part(this.element, 'log', HTMLElement);
  #gates = new GateView(part(this.element, 'gates', HTMLElement));
  #follower = new Follower(this.#log);
  #follow = onceAFrame(() => this.#follower.follow());
  #members = new Members([]);
  #stopping = new AbortController();

  /**
   * @param {Model} model
   * @param {object} options
   * @param {readonly string[]} options.off
   * @param {(text: string) => void} options.announce
   * @param {() => void} [options.onClose] where the pane can be closed
   */
  constructor(model, { off, announce, onClose }) {
    this.announce = announce;
    this.model = model;
    const close = part(this.element, 'close', HTMLButtonElement);
    if (onClose) close.addEventListener('click', onClose);
    else close.remove();
    this.use(model, off);
  }

  /** From now on another model answers. */
  use(/** @type {Model} */ model, /** @type {readonly string[]} */ off = []) {
    this.model = model;
    this.off = new Set(off);
    this.#members = new Members(model.experts);
    const switches = model.experts.map((name) => {
      const input = made('input', { type: 'checkbox', checked: !this.off.has(name) });
      input.setAttribute('role', 'switch');
      input.addEventListener('change', () => {
        if (input.checked) this.off.delete(name);
        else this.off.add(name);
        this.#name();
      });
      const swatch = made('span', { className: `swatch ${this.#members.lookOf(name)}`, ariaHidden: 'true' });
      return made('label', {}, input, swatch, name);
    });
    const fieldset = part(this.element, 'switches', HTMLFieldSetElement);
    fieldset.replaceChildren(made('legend', {}, 'Experts'), ...switches);
    fieldset.hidden = switches.length === 0;
    this.#name();
  }

  /** Who answers: those who are not switched off. */
  get who() {
    const { experts, id } = this.model;
    if (experts.length === 0) return id;
    if (this.off.size === 0) return 'all experts';
    if (this.off.size === experts.length) return 'the hub alone';
    return `without ${experts.filter((name) => this.off.has(name)).join(', ')}`;
  }

  get title() {
    const { who } = this;
    return who === this.model.id ? who : `${who.charAt(0).toUpperCase()}${who.slice(1)}`;
  }

  #name() {
    part(this.element, 'title', HTMLElement).textContent = this.title;
    this.element.setAttribute('aria-label', this.title);
  }

  /** Answers, and tells what goes wrong in place of the answer. Returns the error. */
  async ask(/** @type {Asked} */ { prompt, isChat, sampling }) {
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    const { title, who } = this;
    const { id, gates } = this.model;
    const by = `${who === id ? id : `${id}, ${who}`}, temperature ${sampling.temperature}, seed ${sampling.seed}`;
    const common = { model: id, gates, without: [...this.off], ...sampling };
    /** @type {Question} */
    const question = isChat
      ? { ...common, messages: [...this.#history(), { role: 'user', content: prompt }] }
      : { ...common, prompt };
    const answer = this.#add(prompt, isChat);
    answer.element.setAttribute('aria-busy', 'true');
    try {
      let finish;
      for await (const token of ask(question, signal)) {
        finish = token.finish;
        answer.push(token.text, token.gates);
        this.#gates.refresh();
        this.#follow();
      }
      answer.end(by, finish === 'stop' ? 'stop' : 'length');
      this.announce(`${title}: ${answer.text}`);
    } catch (error) {
      if (!signal.aborted) answer.fail(/** @type {Error} */ (error).message);
      answer.end(by, signal.aborted ? 'stopped' : 'failed');
      return error;
    } finally {
      answer.element.removeAttribute('aria-busy');
      this.#gates.refresh();
      this.#follow();
    }
  }

  stop() {
    this.#stopping.abort();
  }

  /** Takes over what another pane was answered. */
  adopt(/** @type {readonly Answer[]} */ answers) {
    for (const { prompt, options, texts, gates } of answers) {
      const answer = this.#add(prompt, options.isChat);
      for (const [t, text] of texts.entries()) answer.push(text, gates[t]);
    }
  }

  /** Takes back the last answers, or as many as are told. */
  forget(/** @type {number} */ count) {
    for (const { element } of this.answers.splice(Math.max(0, this.answers.length - count))) element.remove();
    part(this.element, 'empty', HTMLElement).hidden = this.answers.length > 0;
    this.#gates.show(this.answers.at(-1));
  }

  /** @returns {Message[]} */
  #history() {
    return this.answers
      .filter(({ options, text }) => options.isChat && text !== '')
      .flatMap(({ prompt, text }) => [
        { role: 'user', content: prompt },
        { role: 'assistant', content: text },
      ]);
  }

  #add(/** @type {string} */ prompt, /** @type {boolean} */ isChat) {
    const answer = new Answer(prompt, { isChat, members: this.#members }, (looked, how) => {
      this.#gates.show(looked);
      const { at, stitch, gates } = looked;
      if (how === 'by key' && gates[at]) this.announce(told(looked.nameOf(at), gates[at], stitch));
    });
    this.answers.push(answer);
    part(this.element, 'empty', HTMLElement).hidden = true;
    this.#log.append(answer.element);
    this.#gates.show(answer);
    this.#follower.toEnd();
    return answer;
  }
}
