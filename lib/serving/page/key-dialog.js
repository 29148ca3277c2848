/** Asks for the key of a server that has one. It is kept in the tab's session storage. */
import { storeKey } from './api.js';
import { byId } from './dom.js';

const dialog = byId('key-dialog', HTMLDialogElement);
const input = byId('key', HTMLInputElement);

byId('key-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  storeKey(input.value);
  input.value = '';
  dialog.close('given');
});

/** Waits for a key; false where none was given. `fault` is what was wrong with the one before. */
export function askKey(/** @type {string} */ fault) {
  byId('key-fault', HTMLElement).textContent = fault;
  dialog.returnValue = '';
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'given'), { once: true });
  });
}
