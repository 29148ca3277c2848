/** What all commands that train do, in this order; each of them is its options, how its model is made and what it reports. */
import type { Command } from 'commander';
import type { z } from 'zod';
import type { DomainTokens } from '../../data/token-shards.js';
import type { HeldOutLoss } from '../../eval/held-out-loss.js';
import type { Cost } from '../../model/cost/cost.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { Communicator } from '../../tensor/communicator.js';
import type { Device } from '../../tensor/device.js';
import { type Mesh, openMesh } from '../../tensor/mesh.js';
import { onEach, onFirst } from '../../tensor/together.js';
import { note, print, printJson } from '../../terminal/output.js';
import { expectStepRoom } from '../../train/step-memory.js';
import { type OpenDomains, openDomainsTogether } from '../options/domains.js';
import { addConfigOption, addOptions } from '../options/options.js';
import { openRanks, type Ranks } from '../options/ranks.js';
import type { TrainingValues } from '../options/training-options.js';
import { claimOut, inspectOut, isFinished } from './out-folder.js';
import { planTraining, renderPlan } from './plan.js';
import { runTraining } from './run.js';

export interface Flags {
  dryRun?: boolean;
  json?: boolean;
}

/** For commands that can look at everything without making a model. */
export const DRY_RUN = ['--dry-run', 'Check everything and say what would be done; write nothing'] as const;

/** Gives a command its groups of options, and --config. */
export function addGroups(command: Command, groups: Readonly<Record<string, z.ZodRawShape>>): Command {
  for (const [heading, shape] of Object.entries(groups)) addOptions(command, heading, shape);
  addConfigOption(command);
  return command;
}

/** Gives a command how it prints its result. */
export const addJson = (command: Command) => command.option('--json', 'Print the result as JSON');

/** What one of the commands has of its own. */
export interface TrainingJob<Model extends LanguageModel> {
  /** What its progress is called. */
  label: string;
  values: TrainingValues;
  /** Each domain's share of the rows. */
  shares: Readonly<Record<string, number>>;
  /**
   * Throws what is wrong with the models, before anything is made of them, and says what they would cost where their
   * configurations tell. A dry run looks closer, as nothing comes after it that would.
   */
  check?: (checkpoint: string | undefined, dryRun: boolean) => Promise<Cost | undefined>;
  /** Comes before the model takes its memory. The texts that it opens are trained on. */
  before?: (ranks: Ranks) => Promise<OpenDomains | undefined>;
  /** What is written before a model is created: by rank 0, for all. */
  prepare?: () => Promise<unknown>;
  create: (device: Device, mesh: Mesh) => Promise<Model>;
  load: (device: Device, checkpoint: string, mesh: Mesh) => Promise<Model>;
  /** Of how many ranks each has one member of a model; default 1, each has all of it. */
  spread?: (ranks: Ranks, cost: Cost | undefined) => Promise<number>;
  /** Of a model that was created, before its first step. */
  begin?: (model: Model) => void;
  /** What the run was made from: the same where it is resumed. */
  identity?: () => Promise<Readonly<Record<string, unknown>>>;
  /** Writes the finished model; default `model.write`. */
  write?: (model: Model, folder: string) => Promise<void>;
  /** What is said when it is there. */
  done: string;
  report: (trained: Trained<Model>) => Report | Promise<Report>;
}

/** What `report` reports of: the model may be disposed, it is in its folder. */
export interface Trained<Model> {
  model: Model;
  device: Device;
  domains: readonly DomainTokens[];
  losses: readonly HeldOutLoss[];
  /** Of the processes that share out what is evaluated. */
  communicator: Communicator;
}

/** What a command prints at the end. */
export interface Report {
  heldOut: readonly unknown[];
  /** The same for people. */
  table: () => string;
  /** What else is in the JSON. */
  more?: object;
}

/**
 * Trains a model into its folder, or goes on with it, and prints what came of it. Throws BAD_OPTION, OUT_OF_MEMORY, ABORTED,
 * and what reading models and text and training throw.
 */
export async function trainByCommand<Model extends LanguageModel>(
  job: TrainingJob<Model>,
  { dryRun = false, json = false }: Flags,
  signal: AbortSignal,
): Promise<void> {
  const { values, label, shares } = job;
  using ranks = await openRanks(label, values);
  const { device, communicator } = ranks;
  if (await onFirst(communicator, () => isFinished(values, json))) return;
  const claim = dryRun ? inspectOut : claimOut;
  const found = await onFirst(communicator, async () => (await claim(values.out, values.resume)) ?? null);
  const checkpoint = found ?? undefined;
  const cost = await onEach(communicator, async () => await job.check?.(checkpoint, dryRun));
  const mesh = await openMesh(communicator, (await job.spread?.(ranks, cost)) ?? 1);
  const isSpread = mesh.members.size > 1;
  if (dryRun) {
    const plan = await planTraining(values, { shares, cost, checkpoint, ranks: mesh.replicas.size });
    if (json) printJson(plan);
    else print(renderPlan(plan));
    return;
  }
  if (cost && !isSpread) expectStepRoom({ device, trainingBytes: () => cost.trainingBytes }, values);
  if (values.resume && !checkpoint) {
    note(`There is no checkpoint of '${values.out}' yet: the run begins at step 0.`);
  }
  await using opened = await job.before?.(ranks);
  if (!checkpoint) await onFirst(communicator, async () => void (await job.prepare?.()));
  const make = () => (checkpoint ? job.load(device, checkpoint, mesh) : job.create(device, mesh));
  // Ranks of one model agree with each other while they make it.
  using model = isSpread ? await make() : await onEach(communicator, make);
  if (!cost || isSpread) expectStepRoom(model, values);
  await using texts = opened ?? (await openDomainsTogether(ranks, values, model.tokenizer, signal));
  if (!checkpoint) job.begin?.(model);
  const { write } = job;
  const losses = await runTraining(model, texts.all, values, {
    ...{ label, shares, signal, communicator: mesh.replicas },
    resume: checkpoint,
    identity: (await job.identity?.()) ?? {},
    ...(write && { write: (folder: string) => write(model, folder) }),
  });
  note(job.done);
  const report = await job.report({ model, device, domains: texts.all, losses, communicator });
  printReport(values.out, values.steps, report, json);
}

/** Prints what came of a command, trained or not. */
export function printReport(model: string, steps: number, { heldOut, table, more }: Report, json: boolean): void {
  if (json) printJson({ ...more, model, steps, heldOut });
  else if (heldOut.length > 0) print(table());
}
