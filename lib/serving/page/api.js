/** What the page asks the server. */
import { readEvents } from './events.js';
import { CUT_OFF, Failure, GONE, refusal, sentence } from './failure.js';

/** @import { TokenGates } from '../../model/stitches/gate-log.js' */

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {string[]} experts that can be switched off
 * @property {boolean} gates whether it has any
 * @property {boolean} chat whether it has a chat template
 *
 * @typedef {{ role: 'user' | 'assistant', content: string }} Message
 * @typedef {{ max_tokens: number, temperature: number, seed: number }} Sampling
 * @typedef {{ model: string, gates: boolean, without: string[] } & Sampling} Asked
 * @typedef {Asked & ({ messages: Message[] } | { prompt: string })} Question
 * @typedef {{ text: string, gates: TokenGates | undefined, finish: string | null }} Token
 */

const KEY = 'bts-key';

export const storeKey = (/** @type {string} */ key) => sessionStorage.setItem(KEY, key);
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Throws a Failure. */
async function request(/** @type {string} */ path, /** @type {RequestInit} */ options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { 'Content-Type': 'application/json', ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Failure(GONE);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** @returns {Promise<Model[]>} */
export async function fetchModels() {
  return (await (await request('v1/models')).json()).data;
}

/**
 * The tokens of an answer as they come. Throws a Failure, and what the signal says where it fires.
 * @param {Question} question
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Token>}
 */
export async function* ask(question, signal) {
  const path = 'messages' in question ? 'v1/chat/completions' : 'v1/completions';
  const { gates, without, ...rest } = question;
  // A model without experts or gates would refuse these.
  const body = { ...rest, ...(gates && { gates }), ...(without.length > 0 && { without }), stream: true };
  const response = await request(path, { method: 'POST', body: JSON.stringify(body), signal });
  if (!response.body) throw new Failure(CUT_OFF);
  let isWhole = false;
  try {
    for await (const data of readEvents(response.body)) {
      isWhole = data === '[DONE]';
      if (isWhole) continue;
      const { error, choices } = JSON.parse(data);
      if (error) throw new Failure(sentence(500, error.message));
      for (const { text, delta, gates: told, finish_reason: finish } of choices) {
        yield { text: text ?? delta.content ?? '', gates: told?.[0], finish };
      }
    }
  } catch (error) {
    if (signal.aborted || error instanceof Failure) throw error;
  }
  if (!isWhole) throw new Failure(CUT_OFF);
}
