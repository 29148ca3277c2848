import { linesOfStdin } from '../stdin.js';
import { HistoryFile } from './history-file.js';
import type { Lines } from './lines.js';
import { TerminalLines } from './terminal-lines.js';

/** Lines of a terminal, which are kept for other conversations, or of a pipe. */
export async function openLines(signal: AbortSignal): Promise<Lines> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    return {
      isTerminal: false,
      read: () => linesOfStdin(signal),
      during: (work) => work(signal),
      [Symbol.dispose]: () => {},
    };
  }
  const terminal = { input: process.stdin, output: process.stderr };
  return new TerminalLines(terminal, await HistoryFile.open(), signal);
}
