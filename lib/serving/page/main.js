/** The page: models, one pane or two, and a form to ask them. */
import { fetchModels, hasKey } from './api.js';
import * as composer from './composer.js';
import { byId, made } from './dom.js';
import { Failure } from './failure.js';
import { askKey } from './key-dialog.js';
import { Pane } from './pane.js';

/** @import { Model } from './api.js' */
/** @import { Asked } from './pane.js' */

const MOST_ANNOUNCED = 4;
const place = byId('panes', HTMLElement);
const notice = byId('notice', HTMLElement);
const choice = byId('model', HTMLSelectElement);
const compare = byId('compare', HTMLButtonElement);
const announcer = byId('announcer', HTMLElement);

/** @type {Model[]} */
let models = [];
/** @type {Pane[]} */
let panes = [];
/** What was asked last. @type {Asked | undefined} */
let last;
let running = 0;

/** For screen readers: what is added is read, in turn. */
function announce(/** @type {string} */ text) {
  announcer.append(made('p', {}, text));
  while (announcer.childElementCount > MOST_ANNOUNCED) announcer.firstElementChild?.remove();
}

function update() {
  composer.allow({ isRunning: running > 0, hasAnswers: panes.some(({ answers }) => answers.length > 0) });
  compare.setAttribute('aria-pressed', `${panes.length > 1}`);
  place.classList.toggle('two', panes.length > 1);
}

async function answer(/** @type {readonly Pane[]} */ asked, /** @type {Asked} */ question) {
  last = question;
  running++;
  announce('Answering.');
  const answers = asked.map((pane) => pane.ask(question));
  update();
  const errors = await Promise.all(answers);
  running--;
  update();
  const refused = errors.find((error) => error instanceof Failure && error.status === 401);
  if (refused instanceof Failure) await askKey(refused.message);
}

const stop = () => {
  for (const pane of panes) pane.stop();
};

function forget(/** @type {number} */ count) {
  for (const pane of panes) pane.forget(count);
  update();
}

function add(/** @type {Pane} */ pane) {
  panes.push(pane);
  place.append(pane.element);
  update();
}

/** Beside the first, with the hub alone at first: it answers what was asked last. */
function openSecond() {
  const [first] = panes;
  if (!first) return;
  const { model, answers } = first;
  const onClose = () => {
    closeSecond();
    compare.focus();
  };
  const pane = new Pane(model, { off: model.experts, announce, onClose });
  pane.adopt(answers.slice(0, -1));
  add(pane);
  if (last && answers.length > 0) void answer([pane], last);
}

function closeSecond() {
  const [first, ...others] = panes;
  for (const pane of others) {
    pane.stop();
    pane.element.remove();
  }
  panes = first ? [first] : [];
  update();
}

function use(/** @type {Model} */ model) {
  stop();
  if (panes.length > 1) closeSecond();
  const [first] = panes;
  if (first) first.use(model);
  else add(new Pane(model, { off: [], announce }));
  composer.offerModes(model);
  compare.hidden = model.experts.length === 0;
}

async function start() {
  notice.replaceChildren();
  try {
    models = await fetchModels();
  } catch (error) {
    const { message, status } = /** @type {Failure} */ (error);
    if (status === 401 && (await askKey(hasKey() ? message : ''))) return start();
    const again = made('button', { type: 'button', onclick: start }, 'Try again');
    notice.replaceChildren(made('p', {}, message), again);
    return;
  }
  choice.replaceChildren(...models.map(({ id }) => new Option(id)));
  const [first] = models;
  if (first) use(first);
}

composer.listen({
  send: (question) => void answer(panes, question),
  again: ({ sampling }) => {
    if (!last) return;
    forget(1);
    void answer(panes, { ...last, sampling });
  },
  stop,
  clear: () => forget(Infinity),
});
choice.addEventListener('change', () => {
  const model = models[choice.selectedIndex];
  if (model) use(model);
});
compare.addEventListener('click', () => (panes.length > 1 ? closeSecond() : openSecond()));
void start();
