/** A question and its answer as it comes. */
import { cloned, part } from './dom.js';
import { TokenText } from './token-text.js';

/** @import { TokenGates } from '../../model/stitches/gate-log.js' */
/** @import { Members } from './gates.js' */
/** @import { Look } from './token-text.js' */

const ENDS = { stop: 'ended by itself', length: 'ended at the limit', stopped: 'stopped', failed: 'cut off' };

export class Answer {
  element = cloned('exchange');
  /** Of each token. @type {string[]} */
  texts = [];
  /** Of each token, where the model has any. @type {TokenGates[]} */
  gates = [];
  /** @type {keyof typeof ENDS | undefined} */
  #end;
  /** The stitch that is shown; undefined: the last one. @type {number | undefined} */
  #stitch;
  /** The token that was chosen to be looked at. @type {number | undefined} */
  #chosen;
  /** The token that the pointer passes. @type {number | undefined} */
  #passing;

  /**
   * @param {string} prompt
   * @param {{ isChat: boolean, members: Members }} options
   * @param {(answer: Answer, how: Parameters<Look>[1]) => void} onLook when another token is looked at
   */
  constructor(prompt, options, onLook) {
    this.prompt = prompt;
    this.options = options;
    this.element.classList.add(options.isChat ? 'chat' : 'completion');
    part(this.element, 'question', HTMLElement).textContent = prompt;
    this.view = new TokenText(part(this.element, 'answer', HTMLElement), options.members, (token, how) => {
      this.look(token, how);
      onLook(this, how);
    });
  }

  get text() {
    return this.texts.join('');
  }

  get stitch() {
    const last = (this.gates[0]?.stitches.length ?? 1) - 1;
    return Math.min(this.#stitch ?? last, last);
  }

  /** The token whose gates are shown: while nobody looks at one, the newest. */
  get at() {
    return this.#passing ?? this.#chosen ?? this.texts.length - 1;
  }

  /** A token as it can be read: blanks and line breaks are seen. */
  nameOf(/** @type {number} */ token) {
    const text = this.texts[token] ?? '';
    if (text !== '') return `“${text.replaceAll(' ', '␣').replaceAll('\n', '↵').replaceAll('\t', '⇥')}”`;
    return this.#end === 'stop' && token === this.texts.length - 1 ? 'end of the text' : 'part of a character';
  }

  push(/** @type {string} */ text, /** @type {TokenGates | undefined} */ gates) {
    this.texts.push(text);
    if (gates) this.gates.push(gates);
    this.view.append(text, gates, this.stitch);
  }

  /** @type {Look} */
  look(token, how) {
    const at = token === undefined ? undefined : Math.max(0, Math.min(token, this.texts.length - 1));
    if (how === 'passing') this.#passing = at;
    else this.#chosen = at;
    this.view.mark(this.#passing ?? this.#chosen);
  }

  show(/** @type {number} */ stitch) {
    this.#stitch = stitch;
    for (const [t, gates] of this.gates.entries()) this.view.tint(t, gates, stitch);
  }

  /**
   * @param {string} by whom it was answered
   * @param {keyof typeof ENDS} how
   */
  end(by, how) {
    this.#end = how;
    const { length } = this.texts;
    const counted = `${length} ${length === 1 ? 'token' : 'tokens'}, ${ENDS[how]}`;
    part(this.element, 'end', HTMLElement).textContent = `${by}: ${counted}`;
  }

  fail(/** @type {string} */ sentence) {
    part(this.element, 'fault', HTMLElement).textContent = sentence;
  }
}
