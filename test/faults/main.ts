/**
 * `npm run test:faults [-- WORD...]`: what happens where the machine fails, a line for each fault, of those whose names hold one
 * of the words. `-- --soak MINUTES` works for that long in one process instead, and tells what it grew by. Exits 1 where
 * something failed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { tryAll } from '../support/lines.js';
import { Faults, library } from './shim.js';

const LINES = ['disk', 'kills', 'power-loss', 'weights', 'memory', 'machine', 'commands'];

/** In a process whose calls can go wrong. True where all went well. */
async function run(page: string, words: readonly string[]): Promise<boolean> {
  const [word, minutes = '60'] = words;
  if (word === '--soak') return (await import('./soak.js')).soak(Number(minutes), dirname(page));
  for (const name of LINES) await import(`./${name}.js`);
  return tryAll(words);
}

// V8 keeps more machine code, and more room for what is young, the busier it is: neither is what a soak looks for.
const STEADY = ['--no-opt', '--no-sparkplug', '--max-semi-space-size=1'];

/** Starts this again with the shim, and ends as that does. */
function restart(): number {
  const folder = mkdtempSync(join(tmpdir(), 'bts-faults-'));
  try {
    library();
    const faults = new Faults(join(folder, 'page'));
    const flags = [...process.execArgv, ...(process.argv.includes('--soak') ? STEADY : [])];
    const { status, signal } = spawnSync(process.execPath, [...flags, ...process.argv.slice(1)], {
      env: { ...process.env, ...faults.environment, XDG_CACHE_HOME: join(folder, 'cache'), UV_USE_IO_URING: '0' },
      stdio: 'inherit',
    });
    if (signal) console.error(`failed  ended by ${signal}`);
    return status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const { BTS_FAULTS } = process.env;
if (!BTS_FAULTS) process.exitCode = restart();
else process.exit((await run(BTS_FAULTS, process.argv.slice(2))) ? 0 : 1);
