import { mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { exists, readJson } from '../base/file.js';
import { recoverFolder } from '../base/folder.js';
import { parseOptions } from '../base/options-check.js';
import { overwrite } from '../base/overwrite.js';
import { availableProcessors, checkThreads } from '../base/processors.js';
import { count } from '../base/schema.js';
import { type HeldOutLoss, meanLoss } from '../eval/held-out-loss.js';
import type { ColumnResult } from '../eval/results/columns.js';
import { note } from '../terminal/output.js';
import { duration } from '../terminal/progress.js';
import { trainingFolder } from '../train/checkpoint.js';
import { runCommand } from './child.js';
import { type Domains, type Make, type Plan, planReproduction, textOptions } from './commands.js';
import type { Reproduction } from './config.js';
import type { Curve } from './curves.js';
import type { RowResult } from './report.js';
import { severalAtATime } from './several.js';

const Losses = z.custom<HeldOutLoss>();
const Evaluation = z.object({ models: z.tuple([z.object({ losses: z.array(Losses), switching: Losses })]) });
const Scores = z.object({ models: z.tuple([z.object({ columns: z.array(z.custom<ColumnResult>()) })]) });

export const reproduceOptions = {
  /** Models that are made at a time; default 1. */
  jobs: count().default(1).meta({
    description: 'Models that are made at a time: several small ones with few threads each are done sooner',
  }),
  /** Divided among them; default all that the process may use. */
  threads: count().optional().meta({ description: 'CPU threads in all (default: all that the process may use)' }),
};

export interface ReproduceOptions extends z.input<z.ZodObject<typeof reproduceOptions>> {
  folder: string;
  domains: Domains;
  signal: AbortSignal;
}

/**
 * Makes all models of a table and evaluates them, each in a process of its own. What is in the folder already is left as it
 * is, so that an interrupted reproduction goes on where it was.
 * Throws ABORTED; BAD_OPTION; BAD_DATA where a command failed, whose own words stand above.
 */
export async function reproduce(
  config: Reproduction,
  options: ReproduceOptions,
): Promise<{ rows: RowResult[]; plans: Plan[] }> {
  const { folder, domains, signal } = options;
  const { jobs, threads = availableProcessors() } = parseOptions(reproduceOptions, options);
  checkThreads(threads);
  const plans = planReproduction(config, domains, folder);
  const rows: RowResult[] = [];
  for (const { seed, stages } of plans) {
    for (const stage of stages) {
      const now = Math.min(jobs, stage.length);
      const own = ['--threads', `${Math.max(1, Math.floor(threads / now))}`];
      const use = async (make: Make, signal: AbortSignal): Promise<RowResult> => {
        const run = (args: readonly string[]) => runCommand([...args, ...own], now === 1, signal);
        await makeModel(make, run);
        return { title: make.title, seed, ...(await evaluateModel(make, config, domains, run)) };
      };
      rows.push(...(await severalAtATime(stage, jobs, use, signal)));
    }
  }
  return { rows, plans };
}

type Run = (args: readonly string[]) => Promise<string>;

/** Where what is known of a model is kept. */
const resultFile = ({ folder }: Make, ending: string) =>
  join(dirname(folder), 'results', `${basename(folder)}${ending}.json`);

async function makeModel(make: Make, run: Run): Promise<void> {
  const { title, folder, args } = make;
  await mkdir(dirname(folder), { recursive: true });
  await recoverFolder(folder);
  if (await exists(folder)) return;
  note(`\n${title}: bts ${args.join(' ')}`);
  const began = performance.now();
  await run(args);
  const seconds = (performance.now() - began) / 1000;
  await overwrite(resultFile(make, '-time'), JSON.stringify({ seconds }));
  note(`${title}: ${duration(1000 * seconds)}`);
}

async function evaluateModel(make: Make, config: Reproduction, domains: Domains, run: Run) {
  const { folder } = make;
  const text = textOptions(domains, dirname(dirname(folder)));
  const lengths = ['--sequence-length', `${config.sequenceLength}`, '--max-tokens', `${config.evaluateTokens}`];
  const evaluated = await resultOf(resultFile(make, ''), () =>
    run(['eval', folder, ...text, ...lengths, '--switching', '--json']),
  );
  const [{ losses, switching }] = Evaluation.parse(evaluated).models;
  return { losses, switching, scores: await taskScores(make, config, run), seconds: await secondsOf(make) };
}

async function taskScores(make: Make, config: Reproduction, run: Run): Promise<ColumnResult[]> {
  if (config.tasks.length === 0) return [];
  const scores = await resultOf(resultFile(make, '-tasks'), () => run(taskArguments(make, config)));
  return Scores.parse(scores).models[0].columns;
}

function taskArguments({ folder }: Make, { tasks, taskLimit }: Reproduction): string[] {
  const limit = taskLimit === undefined ? [] : ['--limit', `${taskLimit}`];
  return ['eval', folder, '--tasks', tasks.join(','), ...limit, '--json'];
}

/**
 * Draws the gates of the first stitched model, if there is one, into files of the folder: means by domain and by task, and those of
 * the prompts token by token, each alone with its answer (Figure 2) and as one text that switches between them (Figure 3).
 */
export async function drawGates(
  plans: readonly Plan[],
  config: Reproduction,
  { folder, domains, signal }: ReproduceOptions,
): Promise<void> {
  const stitched = plans[0]!.stages.flat().find(({ args }) => args[0] === 'stitch');
  if (!stitched) return;
  const run = (args: readonly string[]) => runCommand(args, true, signal);
  const draw = (name: string, args: readonly string[]) =>
    run(['gates', stitched.folder, ...args, '--svg', join(folder, name), '--json']);
  await draw('gates.svg', textOptions(domains, folder));
  if (config.tasks.length > 0)
    await run([...taskArguments(stitched, config), '--gates-file', join(folder, 'task-gates.svg')]);
  const files: string[] = [];
  for (const [name, text] of Object.entries(config.prompts ?? {})) {
    await mkdir(join(folder, 'prompts'), { recursive: true });
    const file = join(folder, 'prompts', name);
    await overwrite(file, text);
    files.push('--file', file);
  }
  if (files.length === 0) return;
  await draw('token-gates.svg', [...files, '--max-tokens', '32']);
  if (Object.keys(config.prompts!).length > 1) await draw('switching-gates.svg', [...files, '--join']);
}

/** What is in a file, which is made if it is not there. */
async function resultOf(file: string, make: () => Promise<string>): Promise<unknown> {
  if (!(await exists(file))) await overwrite(file, await make());
  return await readJson(file, 'BAD_DATA');
}

/** How long it took to make a model; null where it was there, or made in parts. */
async function secondsOf(make: Make): Promise<number | null> {
  const file = resultFile(make, '-time');
  if (!(await exists(file))) return null;
  return z.object({ seconds: z.number() }).parse(await readJson(file, 'BAD_DATA')).seconds;
}

/** The mean held-out loss against the tokens trained on, of every model that was evaluated on all domains on its way. */
export async function learningCurves(plans: readonly Plan[], config: Reproduction, domains: number): Promise<Curve[]> {
  const { seed, stages } = plans[0]!;
  const several = plans.length > 1 ? ` (seed ${seed})` : '';
  const curves: Curve[] = [];
  // The seed comes before all the others, on tokens of its own; of repeats the first stands for all.
  const isFirst = (make: Make, i: number, all: Make[]) => all.findIndex(({ title }) => title === make.title) === i;
  for (const { title, folder } of stages.slice(1).flat().filter(isFirst)) {
    const file = join(trainingFolder(folder), 'metrics.jsonl');
    if (!(await exists(file))) continue;
    const lines = (await readFile(file, 'utf8')).trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as { type: string; step: number; losses?: HeldOutLoss[] });
    const points = events
      .filter(({ type, losses }) => type === 'evaluation' && losses!.length === domains)
      .map(({ step, losses }) => ({ x: step * config.batchSize * config.sequenceLength, y: meanLoss(losses!) }));
    curves.push({ title: title + several, points });
  }
  return curves;
}
