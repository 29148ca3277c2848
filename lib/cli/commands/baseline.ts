import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { replaceFolder } from '../../base/folder.js';
import { Tokenizer } from '../../data/tokenizer.js';
import { type HeldOutLoss, heldOutLosses } from '../../eval/held-out-loss.js';
import { EnsembleModel } from '../../model/baselines/ensemble.js';
import { MixtureModel } from '../../model/baselines/mixture-model.js';
import { RoutedModel } from '../../model/baselines/routed.js';
import { writeSoup } from '../../model/baselines/soup.js';
import { DenseModel } from '../../model/dense-model.js';
import type { LanguageModel } from '../../model/language-model.js';
import { loadModel } from '../../model/load-model.js';
import { SYSTEM_TITLES } from '../../model/systems.js';
import type { Device } from '../../tensor/device.js';
import { note, print, printJson } from '../../terminal/output.js';
import { expectStepRoom } from '../../train/step-memory.js';
import { stitchShares } from '../options/ablations.js';
import { openDomains } from '../options/domains.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, count, readOptions } from '../options/options.js';
import { memberOptions } from '../options/stitch-options.js';
import {
  deviceOptions,
  domainOptions,
  readingOptions,
  runOptions,
  type TrainingValues,
  trainingOptions,
  weightOptions,
} from '../options/training-options.js';
import { domainTable } from '../results.js';
import { claimOut, isFinished, placesBeside } from '../training/out-folder.js';
import { evaluationOptions, runTraining } from '../training/run.js';

const UNTRAINED = ['soup', 'btm'] as const;
const TRAINED = ['routing', 'btx-sample', 'btx-soft', 'bam', 'bam-adapters', 'data-matched'] as const;
type Untrained = (typeof UNTRAINED)[number];
type Trained = (typeof TRAINED)[number];

const training = {
  ...trainingOptions,
  steps: count().optional().meta({ description: 'Updates of the weights, of a system that is trained' }),
  learningRate: z.number().positive().default(1e-3).meta({ description: 'Peak learning rate' }),
};
const textGroup = { ...domainOptions, domain: domainOptions.domain.optional(), ...weightOptions };
const runGroup = { ...runOptions, ...deviceOptions, ...readingOptions };
const Schema = z.object({ ...memberOptions, ...textGroup, ...training, ...runGroup });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
Systems:
  soup          the mean of all weights, an ordinary checkpoint; no training
  btm           the ensemble of all models, weighted by their posterior along the text; no training
  routing       a router gives each sequence to one of the models
  btx-sample    mixture of experts of the feed-forward layers, one a token; all trained
  btx-soft      the same with all experts, weighted; all trained
  bam           mixture of feed-forward and attention experts; all trained
  bam-adapters  the same with all experts frozen; routers and a matrix for each expert trained
  data-matched  the seed, trained further on the same text

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
  addOptions(command, 'Models:', memberOptions);
  addOptions(command, 'Text:', textGroup);
  addOptions(command, 'Training:', training);
  addOptions(command, 'Run:', runGroup);
  addConfigOption(command);
  command
    .option('--json', 'Print the result as JSON')
    .action(async (system: Trained | Untrained) =>
      run(system, await readOptions(command, Schema), command.opts().json === true, signal),
    );
}

async function run(system: Trained | Untrained, values: Values, json: boolean, signal: AbortSignal): Promise<void> {
  const needs = (TRAINED as readonly string[]).includes(system);
  if (needs && (values.steps === undefined || values.domain === undefined)) {
    throw new BtsError('BAD_OPTION', `${system} is trained: give --steps and --domain. See 'bts baseline --help'.`);
  }
  if (needs && (await isFinished(values as TrainedValues, json))) return;
  using device = openDevice(values);
  const checkpoint = await claimOut(values.out, values.resume);
  const losses = needs
    ? await trainBaseline(device, system as Trained, values as TrainedValues, checkpoint, signal)
    : await makeBaseline(device, system as Untrained, values, signal);
  note(`${SYSTEM_TITLES[system]} is in '${values.out}'.`);
  if (json) printJson({ system, model: values.out, steps: needs ? values.steps : 0, heldOut: losses });
  else if (losses.length > 0) print(domainTable(losses));
}

type TrainedValues = TrainingValues & Values;

async function trainBaseline(
  device: Device,
  system: Trained,
  values: TrainedValues,
  checkpoint: string | undefined,
  signal: AbortSignal,
): Promise<HeldOutLoss[]> {
  const shares = stitchShares(values);
  using model = checkpoint
    ? await loadModel(device, checkpoint, { trainable: true, verify: values.verify, signal })
    : await createBaseline(device, system, values, signal);
  expectStepRoom(model, values);
  await using domains = await openDomains(values, model.tokenizer, signal);
  // Of a resumed run all of it is in the checkpoint: another system or other members would be ignored.
  const { out, hub, expert } = values;
  const identity = { system, members: await placesBeside(out, { hub, ...expert }) };
  return await runTraining(model, domains.all, values, { label: system, shares, resume: checkpoint, identity, signal });
}

async function createBaseline(
  device: Device,
  system: Trained,
  { hub, expert: experts, seed, verify }: Pick<Values, 'hub' | 'expert' | 'seed' | 'verify'>,
  signal: AbortSignal,
): Promise<LanguageModel> {
  if (system === 'data-matched') return await DenseModel.load(device, hub, { trainable: true, verify, signal });
  if (system === 'routing') return await RoutedModel.create(device, { hub, experts, verify, signal });
  return await MixtureModel.create(device, system, { hub, experts, seed, verify, signal });
}

async function makeBaseline(
  device: Device,
  system: Untrained,
  values: Values,
  signal: AbortSignal,
): Promise<HeldOutLoss[]> {
  const { hub, expert: experts, out, domain, verify } = values;
  if (system === 'soup') {
    await writeSoup(device, out, { hub, experts, verify, signal });
  } else {
    using model = await EnsembleModel.create(device, { hub, experts, verify, signal });
    await replaceFolder(out, (temporary) => model.write(temporary));
  }
  if (!domain) return [];
  await using domains = await openDomains({ ...values, domain }, await Tokenizer.load(out), signal);
  using model = await loadModel(device, out, { signal });
  return await heldOutLosses(model, domains.all, { ...evaluationOptions(values, model), signal });
}
