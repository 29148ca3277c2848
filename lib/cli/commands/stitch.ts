import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { locate } from '../../base/folder.js';
import { parseOptions } from '../../base/options-check.js';
import { flag } from '../../base/schema.js';
import type { StitchManifest } from '../../checkpoint/stitch-manifest.js';
import type { DomainTokens } from '../../data/token-shards.js';
import { heldOutLosses } from '../../eval/held-out-loss.js';
import { type Cost, stitchedCost } from '../../model/cost/cost.js';
import { DenseModel } from '../../model/dense-model.js';
import { MemberParallelModel } from '../../model/member-parallel-model.js';
import { preflight, refusal } from '../../model/members/preflight.js';
import { StitchedModel } from '../../model/stitched-model.js';
import { stitchOptions, stitchShape } from '../../model/stitches/options.js';
import { quantizationOf, quantizeOptions } from '../../model/transformer/quantization.js';
import type { Communicator } from '../../tensor/communicator.js';
import { note } from '../../terminal/output.js';
import { Progress } from '../../terminal/progress.js';
import { ablationOptions, applyAblations, stitchShares } from '../options/ablations.js';
import { memberOptions } from '../options/member-options.js';
import { readOptions } from '../options/options.js';
import {
  deviceOptions,
  domainOptions,
  runOptions,
  trainingOptions,
  weightOptions,
} from '../options/training-options.js';
import { lossTable, type ModelLosses } from '../results.js';
import { addGroups, addJson, DRY_RUN, type Report, type Trained, trainByCommand } from '../training/command.js';
import { evaluationOptions } from '../training/run.js';
import { chooseSpread, spreadOptions } from '../training/spread.js';
import { sameBits } from '../training/stitched-checkpoint.js';

// One seed is of the stitches and of the training.
const { seed: _, ...withoutSeed } = stitchOptions;
const stitchGroup = { ...withoutSeed, ...ablationOptions };
const textGroup = { ...domainOptions, ...weightOptions };
const runGroup = {
  ...runOptions,
  compare: flag()
    .default(true)
    .meta({ description: 'Do not evaluate the hub and the experts on their own at the end' }),
  ...spreadOptions,
  ...quantizeOptions,
  ...deviceOptions,
  ...hashOptions,
};
const Schema = z.object({ ...memberOptions, ...stitchGroup, ...textGroup, ...trainingOptions, ...runGroup });
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
  addGroups(command, {
    'Models:': memberOptions,
    'Stitches:': stitchGroup,
    'Text:': textGroup,
    'Training:': trainingOptions,
    'Run:': runGroup,
  }).option(...DRY_RUN);
  addJson(command).action(async () => {
    const given = await readOptions(command, Schema);
    const values = applyAblations(given);
    const { hub, expert: experts, members, quantize, verify } = values;
    const loading = { members, quantize, verify, signal };
    const stitching = parseOptions(stitchOptions, values);
    await trainByCommand<StitchedModel | MemberParallelModel>(
      {
        label: 'stitching',
        values,
        shares: stitchShares(given),
        check: (_, dryRun) => checkMembers(values, dryRun, signal),
        spread: (ranks, cost) => chooseSpread(ranks, 1 + Object.keys(experts).length, values, cost!.trainingBytes),
        create: (device, { members: ranks }) => {
          const options = { hub, experts, ...stitching, ...loading };
          return ranks.size > 1
            ? MemberParallelModel.create(device, options, ranks)
            : StitchedModel.create(device, options);
        },
        load: async (device, checkpoint, { members: ranks }) => {
          const options = { trainable: true, ...loading };
          const model = await sameBits<StitchedModel | MemberParallelModel>(checkpoint, () =>
            ranks.size > 1
              ? MemberParallelModel.load(device, checkpoint, ranks, options)
              : StitchedModel.load(device, checkpoint, options),
          );
          await expectSame(model.manifest, values, stitchShape(values, model.config.layers), checkpoint);
          return model;
        },
        done: `The stitched model is in '${values.out}'.`,
        report: (trained) => compare(trained, values, signal),
      },
      command.opts(),
      signal,
    );
  });
}

/** Throws what keeps the members from being stitched so; what may surprise is said. */
async function checkMembers(values: Values, dryRun: boolean, signal: AbortSignal): Promise<Cost> {
  // A real run hashes the members for the manifest and need not look for equal ones here.
  const checked = await preflight(values.hub, values.expert, { contents: dryRun, verify: values.verify, signal });
  const refused = refusal(checked);
  if (refused) throw refused;
  const members = checked.members.map(({ config }) => config!);
  const adapters = checked.members.map(({ adapter }) => adapter);
  const hub = members[0]!;
  if (values.sequenceLength > hub.maxPositions) {
    const message = `--sequence-length ${values.sequenceLength} is more than the ${hub.maxPositions} positions of the hub.`;
    throw new BtsError('BAD_OPTION', message);
  }
  const shape = stitchShape(values, hub.layers);
  for (const { message } of checked.findings) note(`warning: ${message}`);
  const size = { batch: values.batchSize, tokens: values.sequenceLength, recompute: values.recompute };
  const quantized = quantizationOf(checked.members, values);
  const packed = checked.members.map(({ packed }) => packed);
  return stitchedCost({ members, adapters, quantized, packed, ...shape }, size);
}

/** The losses of the stitched model, and of its members beside it. */
async function compare(
  { model, domains, losses, communicator }: Trained<StitchedModel | MemberParallelModel>,
  values: Values,
  signal: AbortSignal,
): Promise<Report> {
  const results: ModelLosses[] = losses.length > 0 ? [{ model: 'stitched', losses: [...losses] }] : [];
  if (values.compare && losses.length > 0) {
    // Makes room for its members, which come one at a time.
    model.dispose();
    results.unshift(...(await memberLosses(communicator, values, model.manifest, domains, signal)));
  }
  return { heldOut: results, table: () => `Held-out loss, nats per token\n${lossTable(results)}` };
}

/** Whether a checkpoint is one of the run that the options describe. */
async function expectSame(
  manifest: StitchManifest,
  values: Values,
  shape: ReturnType<typeof stitchShape>,
  folder: string,
): Promise<void> {
  const place = async ([name, path]: [string, string]) => [name, await locate(path)];
  const now = {
    ...shape,
    rank: values.rank,
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
  communicator: Communicator,
  values: Values,
  { members }: StitchManifest,
  domains: readonly DomainTokens[],
  signal: AbortSignal,
): Promise<ModelLosses[]> {
  const rows: ModelLosses[] = [];
  for (const [name, folder] of Object.entries({ hub: values.hub, ...values.expert })) {
    using member = await DenseModel.load(communicator.device, folder, {
      members: members.find((member) => member.name === name)?.held,
      ...(folder !== values.hub && { base: values.hub }),
      signal,
    });
    const progress = new Progress(`evaluating ${name}`);
    try {
      const losses = await heldOutLosses(member, domains, {
        ...evaluationOptions(values, member),
        ...{ signal, communicator },
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
