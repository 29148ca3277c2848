import { z } from 'zod';
import { commaList, count, flag, folder, nonNegative, text } from '../../base/schema.js';
import { MemberName } from '../../checkpoint/stitch-manifest.js';
import { batchOptions } from '../../data/batch-options.js';
import { prepareOptions } from '../../data/token-shards.js';
import { deviceName, deviceOptions as openOptions } from '../../tensor/device.js';
import { trainOptions } from '../../train/options.js';

/** The texts of a command, by domain. */
export const domainOptions = {
  domain: z
    .record(MemberName, commaList(text('a path')))
    .refine((domains) => Object.keys(domains).length > 0, 'expected at least one')
    .meta({
      description: 'A domain and its text: files or folders, several with commas between. Repeatable',
      argument: 'name=path,..',
    }),
  ...prepareOptions,
  cache: folder().optional().meta({
    description:
      'Where tokenized text is kept for the next time (default: branch-train-stitch in XDG_CACHE_HOME or ~/.cache)',
    argument: 'folder',
  }),
};

/** How much of each domain a training run draws. */
export const weightOptions = {
  weight: z.record(MemberName, nonNegative()).default({}).meta({
    description: "A domain's share of the training rows, such as code=0.3; the others divide the rest. Repeatable",
    argument: 'name=share',
  }),
};

const { steps, learningRate, accumulation, recompute, seed, ...others } = trainOptions;
const { evaluateEvery, checkpointEvery, checkpointMinutes, keep, ...optimizer } = others;

/** The options of the training loop. */
export const trainingOptions = {
  steps,
  learningRate,
  ...batchOptions,
  batchSize: batchOptions.batchSize.meta({ description: 'Sequences in a batch, on each device' }),
  accumulation,
  ...optimizer,
  recompute,
  seed: seed.meta({ description: 'Of all random choices: new weights, order of the data, dropout' }),
};

/** The same of what can be made without training, and is trained as it is with any other learning rate. */
export const trainingWith = (usualRate: number) => ({
  ...trainingOptions,
  learningRate: learningRate.default(usualRate),
});

/** Where a training run goes, and what it saves on the way. */
export const runOptions = {
  out: folder().meta({
    description: 'New folder for the finished model; checkpoints and metrics go to FOLDER.training beside it',
    argument: 'folder',
  }),
  resume: flag().default(false).meta({
    description:
      'Go on at the newest checkpoint in FOLDER.training, if there is one. Threads, evaluation, saving and --recompute may be others than the run began with, nothing else',
  }),
  evaluateEvery,
  evaluateTokens: count().default(100_000).meta({
    description: 'Held-out tokens of each domain that an evaluation looks at, at most',
  }),
  checkpointEvery,
  checkpointMinutes,
  keep,
};

export const deviceOptions = {
  device: deviceName,
  precision: openOptions.precision,
  threads: openOptions.threads,
};

const shared = z.object({
  ...domainOptions,
  ...weightOptions,
  ...trainingOptions,
  ...runOptions,
  ...deviceOptions,
});

/** What all commands that train have in common. */
export type TrainingValues = z.output<typeof shared>;
export type DomainValues = Pick<TrainingValues, keyof typeof domainOptions>;
export type DeviceValues = Pick<TrainingValues, keyof typeof deviceOptions>;
