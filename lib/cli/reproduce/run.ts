import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { exists, readJson } from '../../checkpoint/file.js';
import { recoverFolder } from '../../checkpoint/folder.js';
import { BtsError } from '../../errors.js';
import { type HeldOutLoss, meanLoss } from '../../eval/held-out-loss.js';
import { trainingFolder } from '../../train/checkpoint.js';
import { note } from '../output.js';
import { duration } from '../progress.js';
import { type Make, type Plan, planReproduction } from './commands.js';
import type { Reproduction } from './config.js';
import type { Curve } from './curves.js';
import { overwrite } from './overwrite.js';
import type { RowResult } from './report.js';

const MAIN = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url));

const Evaluation = z.object({ models: z.array(z.object({ losses: z.array(z.custom<HeldOutLoss>()) })).min(1) });

export interface ReproduceOptions {
  folder: string;
  domains: Readonly<Record<string, readonly string[]>>;
  threads?: number | undefined;
  signal: AbortSignal;
}

/**
 * Makes all models of a table and evaluates them, each in a process of its own and one after the other. What is in the
 * folder already is left as it is, so that an interrupted reproduction goes on where it was.
 * Throws ABORTED; BAD_DATA where a command failed, whose own words stand above.
 */
export async function reproduce(
  config: Reproduction,
  { folder, domains, threads, signal }: ReproduceOptions,
): Promise<{ rows: RowResult[]; plans: Plan[] }> {
  const plans = planReproduction(config, domains, folder);
  const own = threads === undefined ? [] : ['--threads', `${threads}`];
  const rows: RowResult[] = [];
  for (const { seed, models } of plans) {
    const times = join(folder, `seed-${seed}`, 'results');
    await mkdir(times, { recursive: true });
    for (const make of models) await makeModel(make, own, times, signal);
    for (const { title, folder: model } of models) {
      const file = join(times, `${basename(model)}.json`);
      if (!(await exists(file))) {
        const text = Object.entries(domains).flatMap(([name, paths]) => ['--domain', `${name}=${paths.join(',')}`]);
        const limits = ['--max-tokens', config.evaluateTokens, '--sequence-length', config.sequenceLength];
        const cache = ['--cache', join(folder, 'tokens')];
        const args = ['eval', model, ...text, ...limits.map(String), ...cache, ...own, '--json'];
        await overwrite(file, await runCommand(args, signal));
      }
      const { models } = Evaluation.parse(await readJson(file, 'BAD_DATA'));
      rows.push({ title, seed, losses: models[0]!.losses, seconds: await secondsOf(times, model) });
    }
  }
  return { rows, plans };
}

async function makeModel(make: Make, own: readonly string[], times: string, signal: AbortSignal): Promise<void> {
  const { title, folder, args } = make;
  await mkdir(join(folder, '..'), { recursive: true });
  await recoverFolder(folder);
  if (await exists(folder)) return;
  note(`\n${title}: bts ${args.join(' ')}`);
  const began = performance.now();
  await runCommand([...args, ...own], signal);
  const seconds = (performance.now() - began) / 1000;
  await overwrite(join(times, `${basename(folder)}-time.json`), JSON.stringify({ seconds }));
  note(`${title}: ${duration(1000 * seconds)}`);
}

/** How long it took to make a model; null where it was there, or made in parts. */
async function secondsOf(times: string, model: string): Promise<number | null> {
  const file = join(times, `${basename(model)}-time.json`);
  if (!(await exists(file))) return null;
  return z.object({ seconds: z.number() }).parse(await readJson(file, 'BAD_DATA')).seconds;
}

/** Runs a command of `bts` in a process of its own, its words on stderr, and returns what it printed. */
function runCommand(args: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(stopped(signal));
    const child: ChildProcess = spawn(process.execPath, [...process.execArgv, MAIN, ...args], {
      stdio: ['ignore', 'pipe', process.stderr.isTTY ? 'inherit' : 'pipe'],
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

/** The mean held-out loss against the tokens trained on, of every model that was evaluated on all domains on its way. */
export async function learningCurves(plans: readonly Plan[], config: Reproduction, domains: number): Promise<Curve[]> {
  const { seed, models } = plans[0]!;
  const several = plans.length > 1 ? ` (seed ${seed})` : '';
  const curves: Curve[] = [];
  for (const { title, folder } of models) {
    const file = join(trainingFolder(folder), 'metrics.jsonl');
    if (!(await exists(file))) continue;
    const lines = (await readFile(file, 'utf8')).trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as { type: string; step: number; losses?: HeldOutLoss[] });
    const points = events
      .filter(({ type, losses }) => type === 'evaluation' && losses!.length === domains)
      .map(({ step, losses }) => ({ x: step * config.batchSize * config.sequenceLength, y: meanLoss(losses!) }));
    // The seed comes before all the others, on tokens of its own.
    if (title !== 'Seed') curves.push({ title: title + several, points });
  }
  return curves;
}
