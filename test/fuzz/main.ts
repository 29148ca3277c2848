/**
 * `npm run fuzz -- [--seconds 60] [--runs N] [--target NAME ...]`: looks for inputs that break a promise, each target in a
 * process of its own. A line for each on stdout; ends with 1 where something was found.
 */
import { Command, InvalidArgumentError, Option } from 'commander';
import { buildEngine } from './engine/build.js';
import { type Effort, fuzz } from './engine/fuzz.js';
import { TARGETS } from './targets.js';

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('expected a positive whole number.');
  return value;
}

const names = Object.keys(TARGETS);
const options = new Command('fuzz')
  .description('Looks for bytes that break a reader of files, or the addon: libFuzzer, guided by what is covered.')
  .option('--seconds <n>', 'for each target (default: 60, or without end where --runs is given)', count)
  .option('--runs <n>', 'inputs of each target', count)
  .addOption(new Option('--target <name...>', 'these alone').choices(names))
  .parse()
  .opts<{ seconds?: number; runs?: number; target?: string[] }>();

const effort: Effort = options.runs === undefined ? { seconds: options.seconds ?? 60 } : options;
const engine = await buildEngine();
let found = false;
for (const name of options.target ?? names) {
  const { runs, seconds, input, output } = await fuzz(name, engine, effort);
  const speed = `${runs} runs in ${seconds} s, ${Math.round(runs / Math.max(seconds, 1))}/s`;
  console.log(`${name.padEnd(12)} ${speed}: ${input === undefined ? 'nothing found' : `FOUND ${input}`}`);
  if (input === undefined) continue;
  found = true;
  console.error(output);
}
process.exitCode = found ? 1 : 0;
