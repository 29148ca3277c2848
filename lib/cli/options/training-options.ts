import { z } from 'zod';
import { MemberName } from '../../checkpoint/stitch-manifest.js';
import { commaList, count, integer } from './options.js';

const fraction = () => z.number().min(0).max(1);
const folder = () => z.string().min(1, 'expected a folder');
const Paths = commaList(z.string().min(1, 'expected a path'));

/** The texts of a command, by domain. */
export const domainOptions = {
  domain: z
    .record(MemberName, Paths)
    .refine((domains) => Object.keys(domains).length > 0, 'expected at least one')
    .meta({
      description: 'A domain and its text: files or folders, several with commas between. Repeatable',
      argument: 'name=path,..',
    }),
  documents: z.enum(['file', 'paragraph']).default('file').meta({
    description: 'What one document is in plain text: the file, or what stands between blank lines',
  }),
  textField: z.string().min(1).default('text').meta({
    description: 'The field of .jsonl lines, or column of .parquet rows, with the text',
    argument: 'name',
  }),
  heldOutFraction: z.number().min(0).lt(1).default(0.05).meta({
    description: 'How much of each text is set aside to evaluate on',
  }),
  cache: folder().optional().meta({
    description:
      'Where tokenized text is kept for the next time (default: branch-train-stitch in XDG_CACHE_HOME or ~/.cache)',
    argument: 'folder',
  }),
};

/** How much of each domain a training run draws. */
export const weightOptions = {
  weight: z.record(MemberName, z.number().min(0)).default({}).meta({
    description: "A domain's share of the training rows, such as code=0.3; the others divide the rest. Repeatable",
    argument: 'name=share',
  }),
};

/** The options of the training loop. */
export const trainingOptions = {
  steps: count().meta({ description: 'Updates of the weights' }),
  learningRate: z.number().positive().meta({ description: 'Peak learning rate' }),
  batchSize: count().default(8).meta({ description: 'Sequences in a batch' }),
  sequenceLength: count().default(256).meta({ description: 'Tokens in a sequence' }),
  accumulation: count().default(1).meta({ description: 'Batches whose gradients make one update' }),
  warmupSteps: integer(0).optional().meta({
    description: 'Updates of linear warm-up (default: a twentieth of all)',
  }),
  finalFraction: fraction().default(0.1).meta({
    description: 'Learning rate at the end as a fraction of the peak',
  }),
  weightDecay: z.number().min(0).default(0.1).meta({ description: 'Decoupled weight decay of AdamW' }),
  clipNorm: z.number().positive().default(1).meta({ description: 'Norm that gradients are scaled down to' }),
  beta1: z.number().min(0).lt(1).default(0.9).meta({ description: 'Decay of the first moments' }),
  beta2: z.number().min(0).lt(1).default(0.95).meta({ description: 'Decay of the second moments' }),
  recompute: z.boolean().default(false).meta({
    description: 'Compute the inside of layers again for gradients in place of keeping it: less memory, more time',
  }),
  seed: integer(0).default(0).meta({
    description: 'Of all random choices: new weights, order of the data, dropout',
  }),
};

/** Where a training run goes, and what it saves on the way. */
export const runOptions = {
  out: folder().meta({
    description: 'New folder for the finished model; checkpoints and metrics go to FOLDER.training beside it',
    argument: 'folder',
  }),
  resume: z.boolean().default(false).meta({
    description:
      'Go on at the newest checkpoint in FOLDER.training, if there is one. Threads, evaluation, saving and --recompute may be others than the run began with, nothing else',
  }),
  evaluateEvery: count()
    .optional()
    .meta({ description: 'Updates between evaluations (default: one before the first and one after the last)' }),
  evaluateTokens: count().default(100_000).meta({
    description: 'Held-out tokens of each domain that an evaluation looks at, at most',
  }),
  checkpointEvery: count().optional().meta({ description: 'Updates between checkpoints (default: by time alone)' }),
  checkpointMinutes: z.number().positive().default(10).meta({
    description: 'Minutes between checkpoints, which are all that a crash can lose',
  }),
  keep: count().default(2).meta({ description: 'Checkpoints that are kept' }),
};

const DEVICE = /^(auto|cpu|cuda(-emulated)?(:\d+)?)$/;

export const deviceOptions = {
  device: z
    .string()
    .regex(DEVICE, "expected 'cpu', 'cuda', 'cuda:0' (or another number) or 'auto'")
    .default('auto')
    .meta({
      description: "'cpu', 'cuda', 'cuda:0' (or another number), or 'auto' for the best there is",
      argument: 'name',
    }),
  precision: z.enum(['bf16', 'f32']).optional().meta({
    description:
      'What matrix products take: bf16 (default on a GPU; on a CPU it needs AVX512_BF16) or f32 (default there)',
  }),
  threads: count().optional().meta({ description: 'CPU threads (default: all that the process may use)' }),
};

/** How the files of models are read. */
export const readingOptions = {
  verify: z.boolean().default(false).meta({
    description: 'Read all weights to see that they are what they were, in place of trusting sizes and times of files',
  }),
};

const shared = z.object({
  ...domainOptions,
  ...weightOptions,
  ...trainingOptions,
  ...runOptions,
  ...deviceOptions,
});

/** What `train` and `stitch` have in common. */
export type TrainingValues = z.output<typeof shared>;
export type DomainValues = Pick<TrainingValues, keyof typeof domainOptions>;
export type DeviceValues = Pick<TrainingValues, keyof typeof deviceOptions>;
