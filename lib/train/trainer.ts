import { BtsError } from '../base/errors.js';
import { replaceFolder } from '../base/folder.js';
import { lockFolder } from '../base/lock.js';
import { expectOptions, type OptionNames } from '../base/options-check.js';
import type { Mixture } from '../data/mixture.js';
import { HELD_OUT_OPTIONS, type HeldOutDomain, type HeldOutOptions, heldOutLosses } from '../eval/held-out-loss.js';
import { meanGates } from '../gates/mean-gates.js';
import type { LanguageModel } from '../model/language-model.js';
import { StitchedModel } from '../model/stitched-model.js';
import { ADAMW_OPTIONS, type AdamWOptions } from './adamw.js';
import { newestCheckpoint, trainingFolder, writeTrainingCheckpoint } from './checkpoint.js';
import type { HeldOutState, TrainEvent } from './events.js';
import { Metrics } from './metrics.js';
import { DivergedError, Run } from './run.js';
import { checkSchedule, type ScheduleOptions } from './schedule.js';
import { expectStepRoom } from './step-memory.js';

export interface TrainOptions extends ScheduleOptions, AdamWOptions {
  /** Where the trained model goes. Checkpoints and metrics go to a folder beside it, NAME.training. */
  folder: string;
  /** Batches whose gradients make one update; default 1. */
  accumulation?: number;
  /** Of dropout; the data has its own. Default 0. */
  seed?: number;
  /** Computes what is inside of layers again for its gradients in place of keeping it: less memory, more time. */
  recompute?: boolean;
  /** Held-out text, looked at before the first update, every `evaluateEvery` updates and at the end. */
  heldOut?: readonly HeldOutDomain[];
  /** Default: none between first and last. */
  evaluateEvery?: number;
  evaluation?: HeldOutOptions;
  /** Updates between checkpoints; default: by time alone. */
  checkpointEvery?: number;
  /** A checkpoint is written as soon as the last one is this old, so that a crash loses no more; default 10. Infinity: never. */
  checkpointMinutes?: number;
  /** Checkpoints kept; default 2. */
  keep?: number;
  /** A checkpoint that the model was loaded from: the run goes on there. */
  resume?: string | undefined;
  /**
   * What else makes the run what it is, such as where its model came from: kept in checkpoints, and the same where it is
   * resumed.
   */
  identity?: Readonly<Record<string, unknown>>;
  /** Writes the finished model into a new folder; default `model.write`. Checkpoints keep full precision. */
  write?: (folder: string) => Promise<void>;
  /** Lets the update at work finish, saves, and ends the run. */
  signal?: AbortSignal | undefined;
}

const TRAIN_OPTIONS: OptionNames<TrainOptions> = {
  learningRate: true,
  steps: true,
  warmupSteps: true,
  finalFraction: true,
  ...ADAMW_OPTIONS,
  folder: true,
  accumulation: true,
  seed: true,
  recompute: true,
  heldOut: true,
  evaluateEvery: true,
  evaluation: true,
  checkpointEvery: true,
  checkpointMinutes: true,
  keep: true,
  resume: true,
  identity: true,
  write: true,
  signal: true,
};

const MINUTE_MS = 60_000;
/** Held-out tokens of each domain whose gates an evaluation looks at, at most. */
const GATE_TOKENS = 1024;

/**
 * Trains a model's trainable parameters and reports as it goes:
 *
 *     for await (const event of train(model, mixture, { folder: 'out', steps: 100, learningRate: 1e-3 })) ...
 *
 * At the end the model is in `folder`. Leaving the loop early ends the run without saving; an abort signal saves first.
 *
 * Resumed from a checkpoint, the run takes the same course as one that was never interrupted, bit for bit on a CPU with the
 * same instructions. So whatever its course depends on must be what it was: the schedule (`steps` too, over which the
 * learning rate comes down), the optimizer, seeds, batches, data and their weights, precision, what is trained, `identity`.
 * The rest may change: threads, another device of the same precision (which rounds otherwise), `recompute`, what is
 * evaluated, how often is saved and what is kept, how the finished model is written.
 *
 * Throws BAD_OPTION, also where there are checkpoints of a run into `folder` and none is resumed; BAD_DATA, FOLDER_IN_USE,
 * FILE_IO; LOSS_NOT_FINITE at a loss or gradient that is not finite or a loss far worse than guessing: the weights are then as
 * they were before, saved in a checkpoint beside the batch that did it.
 */
export async function* train(
  model: LanguageModel,
  data: Mixture,
  options: TrainOptions,
): AsyncGenerator<TrainEvent, void> {
  expectOptions('train', options, TRAIN_OPTIONS);
  expectOptions('train: evaluation', options.evaluation ?? {}, HELD_OUT_OPTIONS);
  const {
    folder,
    signal,
    heldOut = [],
    evaluation = {},
    checkpointEvery = Infinity,
    checkpointMinutes = 10,
    evaluateEvery = Infinity,
  } = options;
  const { accumulation = 1, keep = 2, write = (folder) => model.write(folder) } = options;
  const schedule = checkSchedule(options);
  expectPositive({ accumulation, keep, checkpointEvery, evaluateEvery });
  if (!(checkpointMinutes > 0)) {
    throw new BtsError('BAD_OPTION', `checkpointMinutes must be a positive number, not ${checkpointMinutes}.`);
  }
  if (model.trainable.length === 0) {
    throw new BtsError('BAD_OPTION', 'the model has no trainable parameters: load it with trainable: true.');
  }
  expectStepRoom(model, { ...data.options, accumulation, recompute: options.recompute ?? false });
  await using _lock = await lockFolder(folder);
  const training = trainingFolder(folder);
  const unfinished = options.resume ? undefined : await newestCheckpoint(training);
  if (unfinished) {
    throw new BtsError(
      'BAD_OPTION',
      `'${unfinished}' is a checkpoint of an unfinished run: resume it, choose another folder, or remove '${training}'.`,
    );
  }
  using run = new Run(model, data, schedule, options);
  const resumed = options.resume ? await run.restore(options.resume) : undefined;
  await using metrics = await Metrics.open(training, resumed?.metricsBytes ?? 0);

  const report = async <E extends TrainEvent>(event: E): Promise<E> => {
    await metrics.write({ time: new Date().toISOString(), ...event });
    return event;
  };
  let savedAt = performance.now();
  const save = async (): Promise<string> => {
    const state = { ...run.state(), metricsBytes: await metrics.flush() };
    const checkpoint = await writeTrainingCheckpoint(training, model, run.optimizer, state, keep);
    savedAt = performance.now();
    return checkpoint;
  };
  const isDue = () => run.step % checkpointEvery === 0 || performance.now() - savedAt >= checkpointMinutes * MINUTE_MS;

  if (!resumed && heldOut.length > 0) {
    const state = await evaluate(model, heldOut, { signal, ...evaluation });
    if (state) yield await report({ type: 'started', step: 0, ...state });
  }
  while (run.step < schedule.steps) {
    if (signal?.aborted) {
      yield { type: 'stopped', step: run.step, folder: await save() };
      return;
    }
    const event = await run.update().catch(async (error) => {
      if (error instanceof DivergedError) throw await error.explain(training, await save());
      throw error;
    });
    yield await report(event);
    const isLast = run.step === schedule.steps;
    if (heldOut.length > 0 && (isLast || run.step % evaluateEvery === 0)) {
      const state = await evaluate(model, heldOut, { signal, ...evaluation });
      if (state) yield await report({ type: 'evaluation', step: run.step, ...state });
    }
    if (!isLast && isDue()) {
      yield { type: 'checkpoint', step: run.step, folder: await save() };
    }
  }
  await replaceFolder(folder, write);
  yield { type: 'finished', step: run.step, folder };
}

/** Undefined where the signal stopped it: the run goes on to save. */
async function evaluate(
  model: LanguageModel,
  heldOut: readonly HeldOutDomain[],
  options: HeldOutOptions,
): Promise<HeldOutState | undefined> {
  try {
    const losses = await heldOutLosses(model, heldOut, options);
    if (!(model instanceof StitchedModel)) return { losses };
    const { onProgress: _, maxTokens = GATE_TOKENS, ...rest } = options;
    // All channels' gates come to the host: of one sequence at a time.
    const look = { ...rest, batchSize: 1, maxTokens: Math.min(maxTokens, GATE_TOKENS) };
    return { losses, gates: await meanGates(model, heldOut, look) };
  } catch (error) {
    if (error instanceof BtsError && error.code === 'ABORTED') return undefined;
    throw error;
  }
}

function expectPositive(values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!(value >= 1) || (value !== Infinity && !Number.isSafeInteger(value))) {
      throw new BtsError('BAD_OPTION', `${name} must be a positive whole number, not ${value}.`);
    }
  }
}
