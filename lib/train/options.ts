/** The options of a training run. */
import type { z } from 'zod';
import { checkOptions, type OptionNames } from '../base/options-check.js';
import { choice, count, orInfinity, positive, seed } from '../base/schema.js';
import { checkHeldOutOptions, type HeldOutDomain, type HeldOutOptions } from '../eval/held-out-loss.js';
import { RECOMPUTE } from '../model/cost/cost.js';
import type { Communicator } from '../tensor/communicator.js';
import { type AdamWOptions, adamwOptions } from './adamw.js';
import { type ScheduleOptions, scheduleOptions } from './schedule.js';

/** Of the loop itself. */
export const loopOptions = {
  /** Batches whose gradients make one update; default 1. */
  accumulation: count().default(1).meta({ description: 'Batches whose gradients make one update' }),
  /** Of dropout; the data has its own. Default 0. */
  seed: seed().meta({ description: 'Of dropout' }),
  /**
   * Whether what is inside of layers is computed again for its gradients in place of keeping it, which takes a third of the time
   * and saves half of the memory; default 'auto': what does not fit into the memory there is.
   */
  recompute: choice(RECOMPUTE).default('auto').meta({
    description:
      'Compute the inside of layers again for gradients, in place of keeping it: less memory, more time; auto: what does not fit into memory',
  }),
  /** Updates between evaluations; default: none between first and last. */
  evaluateEvery: orInfinity(count()).default(Infinity).meta({
    description: 'Updates between evaluations (default: one before the first and one after the last)',
  }),
  /** Updates between checkpoints; default: by time alone. */
  checkpointEvery: orInfinity(count())
    .default(Infinity)
    .meta({ description: 'Updates between checkpoints (default: by time alone)' }),
  /** A checkpoint is written as soon as the last one is this old, so that a crash loses no more; default 10. Infinity: never. */
  checkpointMinutes: orInfinity(positive()).default(10).meta({
    description: 'Minutes between checkpoints, which are all that a crash can lose',
  }),
  /** Checkpoints kept; default 2. */
  keep: count().default(2).meta({ description: 'Checkpoints that are kept' }),
};

/** All that can be said in words and numbers. */
export const trainOptions = { ...scheduleOptions, ...adamwOptions, ...loopOptions };

/** How a model is trained. */
export interface TrainOptions extends ScheduleOptions, AdamWOptions, z.input<z.ZodObject<typeof loopOptions>> {
  /** Where the trained model goes. Checkpoints and metrics go to a folder beside it, NAME.training. */
  folder: string;
  /** Held-out text, looked at before the first update, every `evaluateEvery` updates and at the end. */
  heldOut?: readonly HeldOutDomain[];
  /** How held-out text is looked at. */
  evaluation?: HeldOutOptions;
  /** A checkpoint that the model was loaded from: the run goes on there. */
  resume?: string | undefined;
  /**
   * What else makes the run what it is, such as where its model came from: kept in checkpoints, and the same where it is
   * resumed.
   */
  identity?: Readonly<Record<string, unknown>>;
  /**
   * Writes the finished model into a new folder; default `model.write`, the only way there is where members lie on ranks of their own.
   * Checkpoints keep full precision.
   */
  write?: (folder: string) => Promise<void>;
  /** Lets the update at work finish, saves, and ends the run: on all ranks, whichever it fires on. */
  signal?: AbortSignal | undefined;
  /**
   * Of the processes that train together, which all call `train` with the same model, data and options. `batchSize` of the data is
   * what each of them computes at a time: W ranks with batches of b take the same course as one with batches of W b. Of a model
   * whose members lie on ranks of their own: the replicas of the mesh. Default: this process alone.
   */
  communicator?: Communicator | undefined;
}

const OTHERS: OptionNames<Omit<TrainOptions, keyof typeof trainOptions>> = {
  folder: true,
  heldOut: true,
  evaluation: true,
  resume: true,
  identity: true,
  write: true,
  signal: true,
  communicator: true,
};

export type CheckedTrainOptions = ReturnType<typeof checkTrainOptions>;

/** Fills in defaults. Throws BAD_OPTION. */
export function checkTrainOptions(options: TrainOptions) {
  const checked = checkOptions('train', trainOptions, options, OTHERS);
  checkHeldOutOptions('train: evaluation', options.evaluation ?? {});
  return checked;
}
