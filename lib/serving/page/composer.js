/** The form below: what is asked, and how it is sampled. */
import { byId } from './dom.js';

/** @import { Model } from './api.js' */
/** @import { Asked } from './pane.js' */

const form = byId('composer', HTMLFormElement);
const prompt = byId('prompt', HTMLTextAreaElement);
const settings = byId('settings', HTMLDetailsElement);
const seed = byId('seed', HTMLInputElement);
const modes = [...document.querySelectorAll('input[name="mode"]')].filter((input) => input instanceof HTMLInputElement);

const send = byId('send', HTMLButtonElement);
const stop = byId('stop', HTMLButtonElement);
const repeating = [byId('again', HTMLButtonElement), byId('clear', HTMLButtonElement)];

const isChat = () => modes.some(({ value, checked }) => value === 'chat' && checked);

function nameField() {
  byId('prompt-label', HTMLElement).textContent = isChat() ? 'Message' : 'Text to go on with';
}

/** A conversation where the model has a template for it; else it is no choice. */
export function offerModes(/** @type {Model} */ { chat }) {
  for (const input of modes) {
    input.disabled = input.value === 'chat' && !chat;
    input.checked = input.value === (chat ? 'chat' : 'completion');
  }
  nameField();
}

/**
 * What can be done now: while something runs, nothing but to stop it.
 * @param {{ isRunning: boolean, hasAnswers: boolean }} now
 */
export function allow({ isRunning, hasAnswers }) {
  const [shown, gone] = isRunning ? [stop, send] : [send, stop];
  const isFocused = document.activeElement === gone;
  shown.hidden = false;
  gone.hidden = true;
  if (isFocused) shown.focus();
  // They stay where they are, for whoever stands on them.
  for (const button of repeating) button.setAttribute('aria-disabled', `${isRunning || !hasAnswers}`);
}

/** What is in the form. */
const asked = () => ({
  prompt: prompt.value,
  isChat: isChat(),
  sampling: {
    max_tokens: byId('max-tokens', HTMLInputElement).valueAsNumber,
    temperature: byId('temperature', HTMLInputElement).valueAsNumber,
    seed: seed.valueAsNumber,
  },
});

/**
 * @param {object} on
 * @param {(asked: Asked) => void} on.send
 * @param {(asked: Asked) => void} on.again with the sampling that is chosen now
 * @param {() => void} on.stop
 * @param {() => void} on.clear
 */
export function listen(on) {
  const [again, clear] = repeating.map((button) => (/** @type {() => void} */ action) => {
    button.addEventListener('click', () => button.ariaDisabled !== 'true' && action());
  });
  again?.(() => form.reportValidity() && on.again(asked()));
  clear?.(on.clear);
  stop.addEventListener('click', on.stop);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const question = asked();
    if (send.hidden || (question.isChat && question.prompt.trim() === '')) return;
    if (question.isChat) prompt.value = '';
    on.send(question);
  });
  // A field that is folded away could not be shown to be wrong.
  form.addEventListener('invalid', () => (settings.open = true), true);
  prompt.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') on.stop();
    // Keyboards on screens have no Shift and Enter.
    const isTouched = matchMedia('(pointer: coarse)').matches;
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || isTouched) return;
    event.preventDefault();
    form.requestSubmit();
  });
  byId('new-seed', HTMLButtonElement).addEventListener('click', () => {
    seed.valueAsNumber = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  });
  for (const input of modes) input.addEventListener('change', nameField);
  settings.open = matchMedia('(min-width: 48rem)').matches;
}
