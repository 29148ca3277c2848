/** Nearer to the end than this, whoever reads wants to see what comes. */
const NEAR = 40;

/** Stays at the end of what grows, unless its reader has gone elsewhere. */
export class Follower {
  #isLeft = false;
  #top = 0;

  constructor(/** @type {HTMLElement} */ element) {
    this.element = element;
    element.addEventListener('scroll', () => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      // More may have come since it was scrolled to the end: only who goes back leaves it.
      if (scrollHeight - scrollTop - clientHeight < NEAR) this.#isLeft = false;
      else if (scrollTop < this.#top) this.#isLeft = true;
      this.#top = scrollTop;
    });
  }

  follow() {
    if (!this.#isLeft) this.toEnd();
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }
}
