import { BtsError } from '../base/errors.js';
import { withoutPaths } from '../checkpoint/stitch-manifest.js';
import type { Mixture } from '../data/mixture.js';
import { type HeldOutDomain, type HeldOutOptions, heldOutLosses } from '../eval/held-out-loss.js';
import { meanGates } from '../gates/mean-gates.js';
import type { LanguageModel } from '../model/language-model.js';
import { MemberParallelModel } from '../model/member-parallel-model.js';
import type { SpreadModel } from '../model/spread-weights.js';
import { StitchedModel } from '../model/stitched-model.js';
import { expectSame } from '../tensor/agreement.js';
import { Communicator } from '../tensor/communicator.js';
import { onEach, onFirst, openOnFirst, SharedError, together } from '../tensor/together.js';
import type { TrainingState } from './checkpoint.js';
import { DivergedError } from './diverged.js';
import type { HeldOutState, TrainEvent } from './events.js';
import { globalNorm } from './global-norm.js';
import { type CheckedTrainOptions, checkTrainOptions, type TrainOptions } from './options.js';
import { Run } from './run.js';
import { RunFolder } from './run-folder.js';
import { checkSchedule } from './schedule.js';
import { expectStepRoom } from './step-memory.js';
import { writeTogether } from './written.js';

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
 * Of several ranks (`communicator`) each runs the same loop to its end and gets the same events; rank 0 writes. What fails on one, or
 * a signal that fires there, ends the run on all.
 *
 * Resumed from a checkpoint, the run takes the same course as one that was never interrupted, bit for bit on a CPU with the
 * same instructions. So whatever its course depends on must be what it was: the schedule (`steps` too, over which the
 * learning rate comes down), the optimizer, seeds, batches, data and their weights, precision, what is trained, `identity`.
 * The rest may change: the number of ranks (batches stay as large as they were), threads, another device of the same precision
 * (which rounds otherwise), `recompute`, what is evaluated, how often is saved and what is kept, how the finished model is written.
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
  const { folder, heldOut = [], evaluation = {}, write, signal, resume } = checked;
  const { accumulation, recompute, evaluateEvery, checkpointEvery, checkpointMinutes, keep } = checked;
  const { communicator = Communicator.alone(model.device) } = checked;
  const schedule = checkSchedule(options);
  if (model.trainable.length === 0) {
    throw new BtsError('BAD_OPTION', 'the model has no trainable parameters: load it with trainable: true.');
  }
  if (model.spread) expectReplicas(model.spread, communicator, write !== undefined);
  expectStepRoom(model, { ...data.options, accumulation, recompute });
  using run = new Run(model, data, schedule, communicator, checked);
  const all = communicator.whole;
  if (all.size > 1) await expectSame(all, { ...run.fixed, data: data.state(), ...(await courseOf(model, checked)) });
  await using files = await openOnFirst(all, () => RunFolder.open(folder, resume !== undefined));
  const resumed = resume ? await restore(communicator, run, resume) : undefined;
  await onFirst(all, () => files!.begin(resumed?.metricsBytes ?? 0));

  const report = async <E extends TrainEvent>(event: E): Promise<E> => {
    await onFirst(all, () => files!.report(event));
    return event;
  };
  let saved = { step: run.step, at: performance.now() };
  const save = async (): Promise<string> => {
    const path = await writeTogether(all, model, run.optimizer, (written) => files!.save(written, run.state(), keep));
    saved = { step: run.step, at: performance.now() };
    return path;
  };
  // A rank that left an evaluation would leave others waiting in its stitches: these see the signal behind it.
  const looking = { communicator, ...(!model.spread && { signal }) };
  const isDue = () => run.step % checkpointEvery === 0 || performance.now() - saved.at >= checkpointMinutes * MINUTE_MS;

  const { ranks, batch } = run.begun;
  if (resumed && ranks !== communicator.size) {
    yield await report({ type: 'resumed', step: run.step, ranks: communicator.size, begun: ranks, batch });
  }
  if (!resumed && heldOut.length > 0) {
    const state = await evaluate(model, heldOut, { ...looking, ...evaluation });
    if (state) yield await report({ type: 'started', step: 0, ...state });
  }
  while (run.step < schedule.steps) {
    const wishes = await together(all, () => ({ stop: signal?.aborted ?? false, save: isDue() }));
    if (wishes.some(({ stop }) => stop)) {
      yield { type: 'stopped', step: run.step, folder: await save() };
      return;
    }
    // By the clock of rank 0.
    if (wishes[0]!.save && run.step !== saved.step) {
      yield { type: 'checkpoint', step: run.step, folder: await save() };
    }
    const event = await run.update().catch(async (error) => {
      if (!(error instanceof DivergedError)) throw error;
      const checkpoint = await save();
      const message = await onFirst(all, () => error.explain(files!.training, checkpoint));
      throw new SharedError('LOSS_NOT_FINITE', message);
    });
    yield await report(event);
    const isLast = run.step === schedule.steps;
    if (heldOut.length > 0 && (isLast || run.step % evaluateEvery === 0)) {
      const state = await evaluate(model, heldOut, { ...looking, ...evaluation });
      if (state) yield await report({ type: 'evaluation', step: run.step, ...state });
    }
  }
  await writeTogether(all, model, undefined, async (written) => {
    await files!.finish(write ?? written.write);
    return null;
  });
  yield { type: 'finished', step: run.step, folder };
}

/** Throws BAD_OPTION unless a model whose members lie on several ranks is trained by all of them, and written as it can be. */
function expectReplicas({ members }: SpreadModel, { whole, size }: Communicator, hasWriter: boolean): void {
  if (hasWriter)
    throw new BtsError('BAD_OPTION', 'write: the ranks of a model write it together, in one way alone: leave it out.');
  if (whole !== members.whole || size * members.size !== whole.size)
    throw new BtsError(
      'BAD_OPTION',
      `communicator: expected the replicas of openMesh of the ${members.whole.size} ranks that the model's members are on, and came ${size} of ${whole.size} ranks.`,
    );
}

/** What the course of a run depends on beside its own options, as all ranks must have it. */
async function courseOf(model: LanguageModel, options: CheckedTrainOptions): Promise<Record<string, unknown>> {
  const { evaluateEvery, checkpointEvery, heldOut = [], evaluation = {}, resume } = options;
  const { signal: _, onProgress: __, communicator: ___, ...looked } = evaluation;
  const values = model.trainable.map(({ value }) => value);
  using norm = globalNorm(model.device, values, model.spread?.members);
  return {
    ...{ evaluateEvery, checkpointEvery, evaluation: looked, resumed: resume !== undefined },
    'held-out text': heldOut.map(({ name, heldOut: { length, contentHash } }) => [name, length, contentHash]),
    'what the model is made of': 'manifest' in model && withoutPaths(model.manifest),
    'the norm of the weights': await norm.item(),
  };
}

async function restore(communicator: Communicator, run: Run, checkpoint: string): Promise<TrainingState> {
  const state = await onEach(communicator, () => run.restore(checkpoint));
  await expectSame(communicator, { 'the step of the checkpoint': run.step });
  return state;
}

/** Undefined where the signal stopped it: the run goes on to save. */
async function evaluate(
  model: LanguageModel,
  heldOut: readonly HeldOutDomain[],
  options: HeldOutOptions,
): Promise<HeldOutState | undefined> {
  try {
    const losses = await heldOutLosses(model, heldOut, options);
    if (!(model instanceof StitchedModel || model instanceof MemberParallelModel)) return { losses };
    const { onProgress: _, maxTokens = GATE_TOKENS, ...rest } = options;
    // All channels' gates come to the host: of one sequence at a time.
    const look = { ...rest, batchSize: 1, maxTokens: Math.min(maxTokens, GATE_TOKENS) };
    return { losses, gates: await meanGates(model, heldOut, look) };
  } catch (error) {
    if (error instanceof BtsError && error.code === 'ABORTED') return undefined;
    throw error;
  }
}
