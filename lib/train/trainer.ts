import { BtsError } from '../base/errors.js';
import { replaceFolder } from '../base/folder.js';
import { lockFolder } from '../base/lock.js';
import type { Mixture } from '../data/mixture.js';
import { type HeldOutDomain, type HeldOutOptions, heldOutLosses } from '../eval/held-out-loss.js';
import { meanGates } from '../gates/mean-gates.js';
import type { LanguageModel } from '../model/language-model.js';
import { StitchedModel } from '../model/stitched-model.js';
import { clearTraining, newestCheckpoint, trainingFolder, writeTrainingCheckpoint } from './checkpoint.js';
import type { HeldOutState, TrainEvent } from './events.js';
import { Metrics } from './metrics.js';
import { checkTrainOptions, type TrainOptions } from './options.js';
import { DivergedError, Run } from './run.js';
import { checkSchedule } from './schedule.js';
import { expectStepRoom } from './step-memory.js';

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
  const checked = checkTrainOptions(options);
  const { folder, heldOut = [], evaluation = {}, write = (folder) => model.write(folder), signal } = checked;
  const { accumulation, recompute, evaluateEvery, checkpointEvery, checkpointMinutes, keep } = checked;
  const schedule = checkSchedule(options);
  if (model.trainable.length === 0) {
    throw new BtsError('BAD_OPTION', 'the model has no trainable parameters: load it with trainable: true.');
  }
  expectStepRoom(model, { ...data.options, accumulation, recompute });
  await using _lock = await lockFolder(folder);
  const training = trainingFolder(folder);
  const unfinished = options.resume ? undefined : await newestCheckpoint(training);
  if (unfinished) {
    throw new BtsError(
      'BAD_OPTION',
      `'${unfinished}' is a checkpoint of an unfinished run: resume it, choose another folder, or remove '${training}'.`,
    );
  }
  using run = new Run(model, data, schedule, checked);
  const resumed = options.resume ? await run.restore(options.resume) : undefined;
  await using metrics = await Metrics.open(training, resumed?.metricsBytes ?? 0);
  await clearTraining(training);

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
  await metrics.flush();
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
