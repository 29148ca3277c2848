import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BtsError } from '../base/errors.js';

const MAIN = fileURLToPath(new URL(`../cli/main${extname(import.meta.url)}`, import.meta.url));

/**
 * Runs a command of `bts` in a process of its own and returns what it printed. Its words on stderr pass through, as to a
 * terminal where it has that for itself. Throws ABORTED; BAD_DATA where it failed.
 */
export function runCommand(args: readonly string[], isAlone: boolean, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(stopped(signal));
    const child = spawn(process.execPath, [...process.execArgv, MAIN, ...args], {
      // Ctrl-C, which a terminal sends to all of a group, comes once: a second one would end the command at once.
      detached: true,
      stdio: ['ignore', 'pipe', isAlone && process.stderr.isTTY ? 'inherit' : 'pipe'],
    });
    // Lets the command save its work.
    const interrupt = () => child.kill('SIGINT');
    signal.addEventListener('abort', interrupt);
    let printed = '';
    child.stdout!.setEncoding('utf8').on('data', (text) => {
      printed += text;
    });
    child.stderr?.on('data', (text) => process.stderr.write(text));
    child.once('error', reject);
    child.once('close', (code) => {
      signal.removeEventListener('abort', interrupt);
      if (code === 0) resolve(printed);
      else if (signal.aborted) reject(stopped(signal));
      else reject(new BtsError('BAD_DATA', `'bts ${args.join(' ')}' ended with ${code}: ${printed.trim()}`));
    });
  });
}

const stopped = ({ reason }: AbortSignal) =>
  new BtsError('ABORTED', 'stopped; all work is saved. Run the same command again to go on.', { cause: reason });
