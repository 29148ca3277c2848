/** Writes a result to stdout. */
export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined));
}

/** Tells a person something beside the results, on stderr. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
