import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { locate } from '../../base/folder.js';
import type { StitchManifest } from '../../checkpoint/stitch-manifest.js';
import type { DomainTokens } from '../../data/token-shards.js';
import { heldOutLosses } from '../../eval/held-out-loss.js';
import { stitchedCost } from '../../model/cost/cost.js';
import { DenseModel } from '../../model/dense-model.js';
import { preflight, refusal } from '../../model/members/preflight.js';
import { StitchedModel } from '../../model/stitched-model.js';
import type { Device } from '../../tensor/device.js';
import { note, print, printJson } from '../../terminal/output.js';
import { Progress } from '../../terminal/progress.js';
import { expectStepRoom } from '../../train/step-memory.js';
import { ablationOptions, applyAblations, stitchShares } from '../options/ablations.js';
import { openDomains } from '../options/domains.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { memberOptions, stitchOptions, stitchShape } from '../options/stitch-options.js';
import {
  deviceOptions,
  domainOptions,
  readingOptions,
  runOptions,
  trainingOptions,
  weightOptions,
} from '../options/training-options.js';
import { lossTable, type ModelLosses } from '../results.js';
import { claimOut, inspectOut, isFinished } from '../training/out-folder.js';
import { planTraining, renderPlan } from '../training/plan.js';
import { evaluationOptions, runTraining } from '../training/run.js';

const stitchGroup = {
  ...stitchOptions,
  ...ablationOptions,
  dropout: z.number().min(0).lt(1).default(0).meta({ description: 'Dropout on the gate logits' }),
};
const trainingGroup = {
  ...trainingOptions,
  // All members keep what their gradients need, so that it is memory that runs out first.
  recompute: z.boolean().default(true).meta({
    description: 'Keep the inside of layers for gradients in place of computing it again: less time, more memory',
  }),
};
const textGroup = { ...domainOptions, ...weightOptions };
const runGroup = {
  ...runOptions,
  compare: z
    .boolean()
    .default(true)
    .meta({ description: 'Do not evaluate the hub and the experts on their own at the end' }),
  ...deviceOptions,
  ...readingOptions,
};
const Schema = z.object({ ...memberOptions, ...stitchGroup, ...textGroup, ...trainingGroup, ...runGroup });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
A domain named like an expert gets 15 % of the training rows, the other domains divide the rest; --weight overrides.
The hub and the experts stay as and where they are: the new folder holds the stitches, and says where the members lie.

Examples:
  bts stitch --out generalist --hub seed --expert code=experts/code --expert math=experts/math \\
    --domain code=corpora/code --domain math=corpora/math.jsonl --domain prose=corpora/prose.txt \\
    --steps 500 --learning-rate 1e-3
  bts stitch --config stitch.yaml --resume`;

export function stitchCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('stitch')
    .description('Stitch a hub and its experts into one generalist: train the layers between them, and nothing else.')
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Models:', memberOptions);
  addOptions(command, 'Stitches:', stitchGroup);
  addOptions(command, 'Text:', textGroup);
  addOptions(command, 'Training:', trainingGroup);
  addOptions(command, 'Run:', runGroup);
  addConfigOption(command);
  command
    .option('--dry-run', 'Check everything and say what would be done; write nothing')
    .option('--json', 'Print the result as JSON')
    .action(async () => run(await readOptions(command, Schema), command.opts(), signal));
}

async function run(
  given: Values,
  { dryRun, json }: { dryRun?: boolean; json?: boolean },
  signal: AbortSignal,
): Promise<void> {
  if (await isFinished(given, json)) return;
  const shares = stitchShares(given);
  const values = applyAblations(given);
  using device = openDevice(values);
  const checkpoint = await (dryRun ? inspectOut : claimOut)(values.out, values.resume);
  // A real run hashes the members for the manifest and need not look for equal ones here.
  const checked = await preflight(values.hub, values.expert, {
    contents: dryRun === true,
    verify: values.verify,
    signal,
  });
  const refused = refusal(checked);
  if (refused) throw refused;
  const configs = checked.members.map(({ config }) => config!);
  const hub = configs[0]!;
  if (values.sequenceLength > hub.maxPositions) {
    const message = `--sequence-length ${values.sequenceLength} is more than the ${hub.maxPositions} positions of the hub.`;
    throw new BtsError('BAD_OPTION', message);
  }
  const shape = stitchShape(values, hub.layers);

  const size = { batch: values.batchSize, tokens: values.sequenceLength, recompute: values.recompute };
  const cost = stitchedCost({ members: configs, ...shape }, size);
  if (dryRun) {
    const plan = await planTraining(values, shares, cost, checkpoint);
    if (json) printJson(plan);
    else print(renderPlan(plan));
    return;
  }

  expectStepRoom({ device, trainingBytes: () => cost.trainingBytes }, values);
  for (const { message } of checked.findings) note(`warning: ${message}`);
  using model = await openModel(device, values, shape, checkpoint, signal);
  await using domains = await openDomains(values, model.tokenizer, signal);
  const losses = await runTraining(model, domains.all, values, {
    label: 'stitching',
    shares,
    resume: checkpoint,
    signal,
  });
  note(`The stitched model is in '${values.out}'.`);
  const results: ModelLosses[] = losses.length > 0 ? [{ model: 'stitched', losses }] : [];
  if (values.compare && losses.length > 0) {
    // Makes room for its members, which come one at a time.
    model[Symbol.dispose]();
    results.unshift(...(await memberLosses(device, values, domains.all, signal)));
  }
  if (json) printJson({ model: values.out, steps: values.steps, heldOut: results });
  else if (results.length > 0) print(`Held-out loss, nats per token\n${lossTable(results)}`);
}

type Shape = ReturnType<typeof stitchShape>;

async function openModel(
  device: Device,
  values: Values,
  shape: Shape,
  checkpoint: string | undefined,
  signal: AbortSignal,
): Promise<StitchedModel> {
  if (checkpoint) {
    const model = await StitchedModel.load(device, checkpoint, { trainable: true, verify: values.verify, signal });
    await expectSame(model.manifest, values, shape, checkpoint);
    return model;
  }
  if (values.resume) note(`There is no checkpoint of '${values.out}' yet: the run begins at step 0.`);
  const { hub, expert: experts, init, dropout, seed, verify } = values;
  const { gateBias: _, ...settings } = shape;
  return await StitchedModel.create(device, { ...settings, hub, experts, init, dropout, seed, verify, signal });
}

/** Whether a checkpoint is one of the run that the options describe. */
async function expectSame(manifest: StitchManifest, values: Values, shape: Shape, folder: string): Promise<void> {
  const place = async ([name, path]: [string, string]) => [name, await locate(path)];
  const now = {
    ...shape,
    dropout: values.dropout,
    members: await Promise.all(Object.entries({ hub: values.hub, ...values.expert }).map(place)),
  };
  const then = {
    ...manifest,
    members: await Promise.all(manifest.members.map(({ name, path }) => place([name, path]))),
  };
  for (const [name, value] of Object.entries(now)) {
    const [given, begun] = [JSON.stringify(value), JSON.stringify(then[name as keyof typeof now])];
    if (given === begun) continue;
    throw new BtsError(
      'BAD_OPTION',
      `cannot resume: ${name} is ${given}, in '${folder}' it is ${begun}. Use the options that the run began with.`,
    );
  }
}

/** What the members reach on their own, one after the other in memory. */
async function memberLosses(
  device: Device,
  values: Values,
  domains: readonly DomainTokens[],
  signal: AbortSignal,
): Promise<ModelLosses[]> {
  const rows: ModelLosses[] = [];
  for (const [name, folder] of Object.entries({ hub: values.hub, ...values.expert })) {
    using member = await DenseModel.load(device, folder, { signal });
    const progress = new Progress(`evaluating ${name}`);
    try {
      const losses = await heldOutLosses(member, domains, {
        ...evaluationOptions(values, member),
        signal,
        onProgress: (domain, tokens) => progress.update(tokens, [`tokens of ${domain}`]),
      });
      rows.push({ model: name, losses });
      progress.done(`evaluated ${name}`);
    } finally {
      progress.done();
    }
  }
  return rows;
}
