// npm run reproduce [-- --smoke] [-- options of `bts reproduce`]: the table of full.yaml, or in minutes that of smoke.yaml.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { arithmetic, idioms, writeExercises } from './exercises.mjs';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const given = process.argv.slice(2);
const name = given.includes('--smoke') ? 'smoke' : 'full';
const rest = given.filter((argument) => argument !== '--smoke');
const main = at('../../dist/cli/main.js');
if (!existsSync(main)) {
  console.error("The program is not built: run 'npm run build:all' first.");
  process.exit(1);
}
const exercises = at('../../build/reproduce/exercises');
if (name === 'smoke') {
  writeExercises(exercises, 'arithmetic', arithmetic, { seed: 1 });
  writeExercises(exercises, 'idioms', idioms, { seed: 1, metric: 'acc_norm' });
}
const { availableProcessors } = await import('../../dist/base/processors.js');
const defaults = { '--out': at(`../../build/reproduce/${name}`), '--jobs': `${availableProcessors()}` };
if (name === 'smoke') defaults['--tasks'] = `${exercises}/idioms.json,${exercises}/arithmetic.json`;
const missing = Object.entries(defaults).filter(([option]) => !rest.includes(option));
process.argv.splice(2, given.length, 'reproduce', at(`${name}.yaml`), ...missing.flat(), ...rest);
await import(main);
