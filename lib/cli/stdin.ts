import { addAbortSignal } from 'node:stream';
import { BtsError, throwIfAborted } from '../base/errors.js';

const MOST_BYTES = 16 << 20;

/** What stdin says as it comes, which may be a person who types: the signal ends the wait. Throws BAD_DATA, ABORTED. */
async function* textOfStdin(signal: AbortSignal): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes?: Buffer) => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch (cause) {
      throw new BtsError('BAD_DATA', 'the prompt on stdin is not UTF-8. Convert it first.', { cause });
    }
  };
  try {
    for await (const bytes of addAbortSignal(signal, process.stdin) as AsyncIterable<Buffer>) yield decode(bytes);
  } catch (cause) {
    throwIfAborted(signal, 'reading stdin');
    throw cause;
  }
  yield decode();
}

/** All of stdin, without its last line end. Throws BAD_DATA, ABORTED. */
export async function readStdin(signal: AbortSignal): Promise<string> {
  let text = '';
  for await (const part of textOfStdin(signal)) text = bounded(text + part);
  return text.replace(/\r?\n$/, '');
}

/** The lines of stdin as they come. Throws BAD_DATA, ABORTED. */
export async function* linesOfStdin(signal: AbortSignal): AsyncGenerator<string> {
  let rest = '';
  for await (const part of textOfStdin(signal)) {
    const lines = (rest + part).split(/\r?\n/);
    rest = bounded(lines.pop()!);
    yield* lines;
  }
  if (rest !== '') yield rest;
}

function bounded(text: string): string {
  if (text.length <= MOST_BYTES) return text;
  throw new BtsError('BAD_DATA', `the prompt on stdin has more than ${MOST_BYTES} characters.`);
}
