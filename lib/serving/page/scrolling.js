/** Nearer to the end than this, whoever reads wants to see what comes. */
const NEAR = 40;

export function scrollToEnd(/** @type {HTMLElement} */ element) {
  element.scrollTop = element.scrollHeight;
}

/** Makes a change, and stays at the end of what scrolls if it was there. */
export function following(/** @type {HTMLElement} */ element, /** @type {() => void} */ change) {
  const { scrollHeight, scrollTop, clientHeight } = element;
  change();
  if (scrollHeight - scrollTop - clientHeight < NEAR) scrollToEnd(element);
}
