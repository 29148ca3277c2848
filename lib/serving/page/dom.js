/** A little less to write where elements are made. */

/** A copy of one of the page's templates. */
export function cloned(/** @type {string} */ name) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(`${name}-template`));
  return /** @type {HTMLElement} */ (/** @type {Element} */ (template.content.firstElementChild).cloneNode(true));
}

/**
 * The element with this id, which is there.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} kind
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page has no ${kind.name} called ${id}`);
}

/**
 * The part of an element that `data-part` names.
 * @template {Element} T
 * @param {Element} root
 * @param {string} name
 * @param {new () => T} kind
 */
export function part(root, name, kind) {
  const found = root.querySelector(`[data-part="${name}"]`);
  if (found instanceof kind) return found;
  throw new Error(`there is no ${kind.name} called ${name}`);
}

/**
 * An element with properties and what is in it.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, unknown>} properties
 * @param {(Node | string)[]} inside
 */
export function made(name, properties, ...inside) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inside);
  return element;
}

/**
 * The same of pictures.
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} inside
 */
export function drawn(name, attributes, ...inside) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, `${value}`);
  element.append(...inside);
  return element;
}
