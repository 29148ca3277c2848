/** Nearer to the end than this, whoever reads wants to see what comes. */
const NEAR = 40;

/** Stays at the end of what grows, unless its reader has gone elsewhere. */
export class Follower {
  #isAtEnd = true;

  constructor(/** @type {HTMLElement} */ element) {
    this.element = element;
    element.addEventListener('scroll', () => {
      this.#isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
    });
  }

  follow() {
    if (this.#isAtEnd) this.toEnd();
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }
}
