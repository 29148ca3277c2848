let silent = false;

/** From now on neither results nor what is told beside them are written: another process does that. */
export function silence(): void {
  silent = true;
}

export const isSilent = (): boolean => silent;

/** Writes a result to stdout. */
export function print(text: string): void {
  if (!silent) process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined));
}

/**
 * Writes a part of a text that a model generates to stdout. It may be any characters: those that would control a terminal are
 * left out there. `paint` has the rest in its hands.
 */
export function writeText(text: string, paint = (shown: string) => shown): void {
  const shown = process.stdout.isTTY ? text.replace(/[^\P{Cc}\n\t]/gu, '') : text;
  if (shown !== '' && !silent) process.stdout.write(paint(shown));
}

/** Tells a person something beside the results, on stderr. */
export function note(text: string): void {
  if (!silent) warn(text);
}

/** The same of what went wrong, which is always told. */
export function warn(text: string): void {
  process.stderr.write(`${text}\n`);
}
