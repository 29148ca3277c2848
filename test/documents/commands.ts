import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { manifest } from '../../native/packaging/manifest.js';
import type { Printed, Visit } from './visit.js';

/** Says that something was not run, and why. */
export class NotRun extends Error {}

/** What is the same in less time. What stands last in a command line wins. */
const SHORTER: readonly [RegExp, string][] = [
  [/--steps \d+/, '--steps 2'],
  [/--sequence-length \d+/, '--sequence-length 32'],
  [/^bts (train|stitch|add|sparse|baseline) .*--steps.*/, '$& --batch-size 2 --evaluate-tokens 256'],
  [/^bts eval .*--domain.*/, '$& --max-tokens 256'],
  [/\bmmlu\b/, 'mmlu_anatomy'],
  [/^bts eval .*--tasks.*/, '$& --limit 1 --shots 0'],
  [/^bts (gates|shrink) .*--domain.*/, '$& --max-tokens 256'],
  [/^bts (generate|gates) .*--?prompt.*|^bts generate .*/, '$& --max-tokens 4'],
  [/^bts chat .*/, "$& --max-tokens 4 <<< 'Hello'"],
  [/^bts reproduce .*/, '$& --commands'],
];

const shorter = (command: string) => SHORTER.reduce((short, [long, instead]) => short.replace(long, instead), command);

/** Commands of this package's program, each to its end. */
async function bts(command: string, visit: Visit): Promise<Printed> {
  if (command === 'bts quickstart') return await visit.installation.runQuickstart();
  if (/--data benchmarks|eval compare/.test(command) && !(await visit.has('benchmarks')))
    throw new NotRun('there are no benchmarks in ../shared/data');
  if (command.startsWith('bts serve')) return await visit.serve(command);
  try {
    return await visit.run(shorter(command));
  } catch (error) {
    // What a GPU or AVX512_BF16 is needed for is refused by the machine that has none.
    const needsDevice = /--device cuda|--precision bf16/.test(command);
    if (needsDevice && /NO_DEVICE/.test(`${error}`)) throw new NotRun('it needs the device');
    throw error;
  }
}

/** Nothing is downloaded: in the place of a model of the hub stands the quickstart's seed. */
async function download(command: string, visit: Visit): Promise<Printed> {
  const [, folder] =
    /^hf download [\w.-]+\/[\w.-]+ --local-dir (\S+)(?: --exclude \S+)?$/.exec(command) ?? unknown(command);
  await cp(join(visit.folder, 'quickstart', 'seed'), join(visit.folder, folder!), { recursive: true });
  return '';
}

/** The package is installed before all else, from its tarball; what else is installed is on hand. */
function install(command: string): Promise<Printed> {
  const names = command.split(' ').filter((word) => !/^(npm|install|-.*)$/.test(word));
  const { name, devDependencies } = manifest() as { name: string; devDependencies?: Record<string, string> };
  for (const wanted of names) if (wanted !== name && !(wanted in devDependencies!)) unknown(command);
  return Promise.resolve('');
}

/** Scripts of a clone take a compiler and minutes, or hours: they have tests of their own. That they exist is tested elsewhere. */
const notHere = (why: string) => () => Promise.reject(new NotRun(why));

function unknown(command: string): never {
  throw new Error(`there is no rule for '${command}': test/documents/commands.ts has those that guides may use`);
}

/** What is done with the commands of guides, by how they begin. */
const RULES: readonly [RegExp, (command: string, visit: Visit) => Promise<Printed>][] = [
  [/^npx bts /, (command, visit) => bts(command.slice('npx '.length), visit)],
  [/^npx tsc$/, () => Promise.resolve('')],
  [/^node [\w-]+\.(m?js)$/, (command, visit) => visit.run(command)],
  [/^curl localhost:/, (command, visit) => visit.ask(`${command} --silent --show-error --fail-with-body`)],
  [/^npm install /, install],
  [/^hf download /, download],
  [/^pip install /, notHere("another language's packages")],
  [/^hf auth login$/, notHere('an account of a reader')],
  [/^npm explore branch-train-stitch -- npm run /, notHere('a compiler and minutes; `npm run test:install` runs it')],
  [/^node bench\/\S+ /, notHere('a clone, and Debian packages')],
  [/^npm (ci|run [\w:-]+)( |$)/, notHere('a clone')],
];

/** Does what a guide says, or as much of it as can be done here. @throws NotRun where that is nothing */
export async function follow(command: string, visit: Visit): Promise<Printed> {
  const [, rule] = RULES.find(([beginning]) => beginning.test(command)) ?? unknown(command);
  return await rule!(command, visit);
}
