import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { replaceFolder } from '../../base/folder.js';
import { isAdapter } from '../../checkpoint/adapter.js';
import { Tokenizer } from '../../data/tokenizer.js';
import { type HeldOutLoss, heldOutLosses } from '../../eval/held-out-loss.js';
import { EnsembleModel } from '../../model/baselines/ensemble.js';
import { MixtureModel } from '../../model/baselines/mixture-model.js';
import { MIXTURES, type MixtureSystem } from '../../model/baselines/mixtures.js';
import { RoutedModel } from '../../model/baselines/routed.js';
import { writeSoup } from '../../model/baselines/soup.js';
import { type Cost, denseCost } from '../../model/cost/cost.js';
import { DenseModel, trainableRoles } from '../../model/dense-model.js';
import type { LanguageModel } from '../../model/language-model.js';
import { loadModel } from '../../model/load-model.js';
import { preflight, refusal } from '../../model/members/preflight.js';
import { SYSTEM_TITLES } from '../../model/systems.js';
import type { Device } from '../../tensor/device.js';
import { note } from '../../terminal/output.js';
import { stitchShares } from '../options/ablations.js';
import { openDomains } from '../options/domains.js';
import { memberOptions } from '../options/member-options.js';
import { expectOneProcess, openDevice } from '../options/open-device.js';
import { readOptions } from '../options/options.js';
import {
  deviceOptions,
  domainOptions,
  runOptions,
  type TrainingValues,
  trainingWith,
  weightOptions,
} from '../options/training-options.js';
import { domainTable } from '../results.js';
import { addGroups, addJson, DRY_RUN, type Flags, printReport, trainByCommand } from '../training/command.js';
import { claimOut, placesBeside } from '../training/out-folder.js';
import { evaluationOptions } from '../training/run.js';

const UNTRAINED = ['soup', 'btm'] as const;
const TRAINED = ['routing', 'btx-sample', 'btx-soft', 'bam', 'bam-adapters', 'data-matched'] as const;
type Untrained = (typeof UNTRAINED)[number];
type Trained = (typeof TRAINED)[number];

const usual = trainingWith(1e-3);
const training = {
  ...usual,
  steps: usual.steps.optional().meta({ description: 'Updates of the weights, of a system that is trained' }),
};
const textGroup = { ...domainOptions, domain: domainOptions.domain.optional(), ...weightOptions };
const runGroup = { ...runOptions, ...deviceOptions, ...hashOptions };
const Schema = z.object({ ...memberOptions, ...textGroup, ...training, ...runGroup });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
Systems:
  soup          the mean of all weights, an ordinary checkpoint; no training; of adapters counts the weights that they make
  btm           the ensemble of all models, weighted by their posterior along the text; no training
  routing       a router gives each sequence to one of the models
  btx-sample    mixture of experts of the feed-forward layers, one a token; all trained
  btx-soft      the same with all experts, weighted; all trained
  bam           mixture of feed-forward and attention experts; all trained
  bam-adapters  the same with all experts frozen; routers and a matrix for each expert trained
  data-matched  the seed, trained further on the same text
Experts that are adapters stay what they are in btm, routing and bam-adapters; where all is trained they become part of the
weights that are.

Examples:
  bts baseline soup --hub seed --expert code=experts/code --expert math=experts/math --out soup
  bts baseline bam --hub seed --expert code=experts/code --expert math=experts/math --domain code=corpora/code \\
    --domain math=corpora/math.jsonl --domain prose=corpora/prose.txt --steps 500 --learning-rate 1e-4 --out bam`;

export function baselineCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('baseline')
    .description('Make one of the systems that BTS is compared with out of the same hub and experts.')
    .addArgument(new Argument('<system>', 'Which').choices([...UNTRAINED, ...TRAINED]))
    .addHelpText('after', EXAMPLES);
  addGroups(command, {
    'Models:': memberOptions,
    'Text:': textGroup,
    'Training:': training,
    'Run:': runGroup,
  }).option(...DRY_RUN);
  addJson(command).action(async (system: Trained | Untrained) => {
    const values = await readOptions(command, Schema);
    if (isUntrained(system)) await makeBaseline(system, values, command.opts(), signal);
    else await trainBaseline(system, values, command.opts(), signal);
  });
}

const isUntrained = (system: string): system is Untrained => (UNTRAINED as readonly string[]).includes(system);
const isIn = (system: Trained | Untrained, out: string) => `${SYSTEM_TITLES[system]} is in '${out}'.`;

async function trainBaseline(system: Trained, values: Values, flags: Flags, signal: AbortSignal): Promise<void> {
  const { steps, domain, out, hub, expert } = values;
  if (steps === undefined || domain === undefined) {
    throw new BtsError('BAD_OPTION', `${system} is trained: give --steps and --domain. See 'bts baseline --help'.`);
  }
  const training = { ...values, steps, domain };
  await trainByCommand(
    {
      label: system,
      values: training,
      shares: stitchShares(training),
      check: (_, dryRun) => checkMembers(system, training, dryRun, signal),
      create: (device) => createBaseline(device, system, values, signal),
      load: (device, checkpoint) => loadModel(device, checkpoint, { trainable: true, verify: values.verify, signal }),
      // Of a resumed run all of it is in the checkpoint: another system or other members would be ignored.
      identity: async () => ({ system, members: await placesBeside(out, { hub, ...expert }) }),
      done: isIn(system, out),
      report: ({ losses }) => ({ heldOut: losses, table: () => domainTable(losses), more: { system } }),
    },
    flags,
    signal,
  );
}

/** What making a system looks at, too, for a dry run; what it costs only a dense model's configuration tells. */
async function checkMembers(
  system: Trained,
  { hub, expert, batchSize, sequenceLength, recompute, verify }: Values & TrainingValues,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<Cost | undefined> {
  if (!dryRun) return undefined;
  const checked = await preflight(hub, expert, { verify, signal });
  const refused = refusal(checked);
  if (refused) throw refused;
  if (system !== 'data-matched') return undefined;
  const { config } = checked.members[0]!;
  const size = { batch: batchSize, tokens: sequenceLength, recompute };
  return denseCost(config!, size, trainableRoles(config!, { trainable: true }));
}

async function createBaseline(
  device: Device,
  system: Trained,
  { hub, expert: experts, seed, verify }: Pick<Values, 'hub' | 'expert' | 'seed' | 'verify'>,
  signal: AbortSignal,
): Promise<LanguageModel> {
  if (system === 'data-matched') return await DenseModel.load(device, hub, { trainable: true, verify, signal });
  if (system === 'routing') return await RoutedModel.create(device, { hub, experts, verify, signal });
  if (!MIXTURES[system].adapters) await tellAdapters(system, experts);
  return await MixtureModel.create(device, system, { hub, experts, seed, verify, signal });
}

/** Says what becomes of adapters in a system that trains whole experts. */
async function tellAdapters(system: MixtureSystem, experts: Values['expert']): Promise<void> {
  const names: string[] = [];
  for (const [name, folder] of Object.entries(experts)) if (await isAdapter(folder)) names.push(name);
  if (names.length === 0) return;
  note(`${SYSTEM_TITLES[system]} trains whole experts: the adapters ${names.join(', ')} become part of their weights.`);
}

async function makeBaseline(
  system: Untrained,
  values: Values,
  { dryRun, json = false }: Flags,
  signal: AbortSignal,
): Promise<void> {
  if (dryRun) throw new BtsError('BAD_OPTION', `--dry-run plans training, and ${system} takes none. Leave it out.`);
  const { hub, expert: experts, out, domain, verify } = values;
  expectOneProcess(`making ${system}`);
  using device = openDevice(values);
  await claimOut(out, values.resume);
  if (system === 'soup') {
    await writeSoup(device, out, { hub, experts, verify, signal });
  } else {
    using model = await EnsembleModel.create(device, { hub, experts, verify, signal });
    await replaceFolder(out, (temporary) => model.write(temporary));
  }
  const losses = domain ? await lossesOf(device, { ...values, domain }, signal) : [];
  note(isIn(system, out));
  printReport(out, 0, { heldOut: losses, table: () => domainTable(losses), more: { system } }, json);
}

/** On the held-out text, of what was made. */
async function lossesOf(
  device: Device,
  values: Values & Pick<TrainingValues, 'domain'>,
  signal: AbortSignal,
): Promise<HeldOutLoss[]> {
  const { out } = values;
  await using domains = await openDomains(values, await Tokenizer.load(out), signal);
  using model = await loadModel(device, out, { signal });
  return await heldOutLosses(model, domains.all, { ...evaluationOptions(values, model), signal });
}
