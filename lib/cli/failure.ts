import { CommanderError } from 'commander';
import { BtsError, fileError } from '../errors.js';
import { kebab } from './config-file.js';
import { note, printJson } from './output.js';

/** Exit codes, beside 0 and those of signals. */
const FAILED = 1;
const MISUSED = 2;
const INTERRUPTED = 130;

/**
 * Tells what went wrong, on stderr as one line (with `json` on stdout, too), and returns the exit code: 2 where the command
 * line or the file of options is wrong, `interrupted` where the user stopped it, else 1. Of the `options` that the API and
 * the command line have, those that a message names are named as on the command line.
 */
export function reportFailure(
  thrown: unknown,
  json: boolean,
  { interrupted = INTERRUPTED, options = [] }: { interrupted?: number; options?: readonly string[] } = {},
): number {
  if (thrown instanceof CommanderError) {
    // Help and version were asked for; help of a command without one was shown.
    if (thrown.exitCode === 0) return 0;
    if (thrown.code === 'commander.help') return MISUSED;
  }
  const error = asKnown(thrown);
  if (!error) {
    note(`bts: unexpected error. This is a bug: please report it, with the lines below and what 'bts doctor' says.`);
    note(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    if (json) printJson({ error: { code: 'UNEXPECTED', message: String(thrown) } });
    return FAILED;
  }
  const { code } = error;
  const message = code === 'BAD_OPTION' ? asTyped(error.message, options) : error.message;
  note(`bts: ${code}: ${message.replace(/\s*\n\s*/g, ' ')}`);
  if (json) printJson({ error: { code, message } });
  if (code === 'ABORTED') return interrupted;
  return code === 'BAD_OPTION' ? MISUSED : FAILED;
}

/** `learningRate` as `--learning-rate`, but for quotations and keys of a file (`'run.yaml', learningRate: ..`). */
function asTyped(message: string, options: readonly string[]): string {
  return message.replace(/(?<!', |[\w'".])[a-z]\w*[A-Z]\w*(?![\w'"])/g, (word) =>
    options.includes(word) ? `--${kebab(word)}` : word,
  );
}

function asKnown(thrown: unknown): BtsError | undefined {
  if (thrown instanceof CommanderError) {
    return new BtsError('BAD_OPTION', thrown.message.replace(/^error: /, '').replace(/([^.?!])$/, '$1.'));
  }
  // An error of the operating system that nobody gave a context.
  const { errno, path } = (thrown ?? {}) as NodeJS.ErrnoException;
  const error = typeof errno === 'number' ? fileError(thrown, path ?? '', 'working') : thrown;
  return error instanceof BtsError ? error : undefined;
}
