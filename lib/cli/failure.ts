import { CommanderError } from 'commander';
import { BtsError, type ErrorCode, fileError } from '../base/errors.js';
import { SharedError } from '../tensor/together.js';
import { isSilent, printJson, warn } from '../terminal/output.js';
import { kebab } from './options/config-file.js';

/** Exit codes, beside 0 and those of signals. */
const FAILED = 1;
const MISUSED = 2;
const INTERRUPTED = 130;

/** What the user wrote is wrong: the command line, or a file of options or of a task that it names. */
const MISUSES: readonly ErrorCode[] = ['BAD_OPTION', 'BAD_TASK'];

/**
 * Tells what went wrong, on stderr as one line (with `json` on stdout, too), and returns the exit code: 2 where the command
 * line is wrong, or the file of options or a task that it names, `interrupted` where the user stopped it, else 1. Of the
 * `options` that the API and the command line have, those that a message names are named as on the command line.
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
    warn(`bts: unexpected error. This is a bug: please report it, with the lines below and what 'bts doctor' says.`);
    warn(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    if (json) printJson({ error: { code: 'UNEXPECTED', message: String(thrown) } });
    return FAILED;
  }
  const { code } = error;
  const message = code === 'BAD_OPTION' ? asTyped(error.message, options) : error.message;
  if (!(error instanceof SharedError && isSilent())) warn(`bts: ${code}: ${message.replace(/\s*\n\s*/g, ' ')}`);
  if (json) printJson({ error: { code, message } });
  if (code === 'ABORTED') return interrupted;
  return MISUSES.includes(code) ? MISUSED : FAILED;
}

/**
 * `learningRate` as `--learning-rate`, but for quotations and keys of a file (`'run.yaml', learningRate: ..`). A name that is a
 * word of the language, too, counts where a value is said of it: `steps is 3`.
 */
function asTyped(message: string, options: readonly string[]): string {
  const asOption = (word: string) => (options.includes(word) ? `--${kebab(word)}` : word);
  return message
    .replace(/(?<!', |[\w'".])[a-z]\w*[A-Z]\w*(?![\w'"])/g, asOption)
    .replace(/(?<=^|: )[a-z]+(?= (?:is|must be|cannot be) )/g, asOption);
}

function asKnown(thrown: unknown): BtsError | undefined {
  // What failed first, where putting things away failed as well.
  const { name, suppressed } = (thrown ?? {}) as Partial<SuppressedError>;
  if (name === 'SuppressedError') return asKnown(suppressed);
  if (thrown instanceof CommanderError) {
    return new BtsError('BAD_OPTION', thrown.message.replace(/^error: /, '').replace(/([^.?!])$/, '$1.'));
  }
  // An error of the operating system that nobody gave a context.
  const { errno, path } = (thrown ?? {}) as NodeJS.ErrnoException;
  const error = typeof errno === 'number' ? fileError(thrown, path ?? '', 'working') : thrown;
  return error instanceof BtsError ? error : undefined;
}
