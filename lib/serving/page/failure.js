/** What goes wrong between page and server, as sentences. */

export class Failure extends Error {
  /**
   * @param {string} message
   * @param {number} [status] of the answer, where one came
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Of an answer that is none: the server's own words, and what to do. */
export async function refusal(/** @type {Response} */ response) {
  const { status } = response;
  const { error } = await response.json().catch(() => ({}));
  return new Failure(sentence(status, error?.message ?? `it answered with the status ${status}.`), status);
}

/**
 * @param {number} status
 * @param {string} words
 */
export function sentence(status, words) {
  const said = `${words}${/[.!?]$/.test(words) ? '' : '.'}`;
  if (status === 401) return 'The server asks for its key, and this one it does not know.';
  if (status === 408) return `That took too long: ${said}`;
  if (status === 429) return `The server has too much to do: ${said}`;
  if (status === 503) return `The server cannot answer now: ${said}`;
  if (status >= 500) return `The server failed: ${said}`;
  return `The server refuses that: ${said}`;
}

export const GONE = 'The server cannot be reached. Is it still running?';
export const CUT_OFF = 'The connection ended before the answer did. Is the server still running?';
