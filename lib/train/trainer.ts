import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFolder } from '../checkpoint/folder.js';
import { lockFolder } from '../checkpoint/lock.js';
import type { Mixture, MixtureBatch, MixtureState } from '../data/mixture.js';
import { hash32 } from '../data/random.js';
import { BtsError } from '../errors.js';
import {
  HELD_OUT_OPTIONS,
  type HeldOutDomain,
  type HeldOutLoss,
  type HeldOutOptions,
  heldOutLosses,
} from '../eval/held-out-loss.js';
import type { LanguageModel } from '../model/language-model.js';
import { expectOptions, type OptionNames } from '../options-check.js';
import { Scope } from '../tensor/scope.js';
import { AdamW, type AdamWOptions } from './adamw.js';
import { readTrainingCheckpoint, trainingFolder, writeTrainingCheckpoint } from './checkpoint.js';
import { Metrics } from './metrics.js';
import { checkSchedule, learningRateAt, type ScheduleOptions } from './schedule.js';
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
  /** Held-out text, looked at every `evaluateEvery` updates and at the end. */
  heldOut?: readonly HeldOutDomain[];
  /** Default: only at the end. */
  evaluateEvery?: number;
  evaluation?: HeldOutOptions;
  /** Default: only when stopped. */
  checkpointEvery?: number;
  /** Checkpoints kept; default 2. */
  keep?: number;
  /** A checkpoint that the model was loaded from: the run goes on there. */
  resume?: string | undefined;
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
  beta1: true,
  beta2: true,
  epsilon: true,
  weightDecay: true,
  clipNorm: true,
  folder: true,
  accumulation: true,
  seed: true,
  recompute: true,
  heldOut: true,
  evaluateEvery: true,
  evaluation: true,
  checkpointEvery: true,
  keep: true,
  resume: true,
  write: true,
  signal: true,
};

export type TrainEvent =
  | {
      type: 'step';
      step: number;
      loss: number;
      gradientNorm: number;
      learningRate: number;
      tokensPerSecond: number;
    }
  | { type: 'evaluation'; step: number; losses: HeldOutLoss[] }
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'stopped'; step: number; folder: string }
  | { type: 'finished'; step: number; folder: string };

// Guessing uniformly costs ln V; a model that is this much worse than guessing will not come back.
const EXPLODED = 3;

/**
 * Trains a model's trainable parameters and reports as it goes:
 *
 *     for await (const event of train(model, mixture, { folder: 'out', steps: 100, learningRate: 1e-3 })) ...
 *
 * At the end the model is in `folder`. Resumed from a checkpoint, the run takes the same course, bit for bit on the CPU,
 * as one that was never interrupted. Leaving the loop early ends the run without saving; an abort signal saves first.
 *
 * Throws BAD_OPTION, BAD_DATA, FOLDER_IN_USE, FILE_IO; LOSS_NOT_FINITE at a loss or gradient that is not finite or a loss
 * far worse than guessing: the weights are then as they were before, saved in a checkpoint beside the batch that did it.
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
    evaluateEvery = Infinity,
  } = options;
  const { accumulation = 1, keep = 2, write = (folder) => model.write(folder) } = options;
  const schedule = checkSchedule(options);
  expectPositive({ accumulation, keep, checkpointEvery, evaluateEvery });
  if (model.trainable.length === 0) {
    throw new BtsError('BAD_OPTION', 'the model has no trainable parameters: load it with trainable: true.');
  }
  expectStepRoom(model, { ...data.shape, accumulation, recompute: options.recompute ?? false });
  await using _lock = await lockFolder(folder);
  const training = trainingFolder(folder);
  using run = new Run(model, data, schedule, options);
  const resumed = options.resume ? await run.restore(options.resume) : undefined;
  await using metrics = await Metrics.open(training, resumed?.metricsBytes ?? 0);

  const report = async <E extends TrainEvent>(event: E): Promise<E> => {
    await metrics.write({ time: new Date().toISOString(), ...event });
    return event;
  };
  const save = async (): Promise<string> => {
    const state = { ...run.state(), metricsBytes: await metrics.flush() };
    return await writeTrainingCheckpoint(training, model, run.optimizer, state, keep);
  };

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
      const losses = await evaluate(model, heldOut, { signal, ...evaluation });
      if (losses) yield await report({ type: 'evaluation', step: run.step, losses });
    }
    if (!isLast && run.step % checkpointEvery === 0) {
      yield { type: 'checkpoint', step: run.step, folder: await save() };
    }
  }
  await replaceFolder(folder, write);
  yield { type: 'finished', step: run.step, folder };
}

/** Undefined where the signal stopped it: the run goes on to save. */
async function evaluate(model: LanguageModel, heldOut: readonly HeldOutDomain[], options: HeldOutOptions) {
  try {
    return await heldOutLosses(model, heldOut, options);
  } catch (error) {
    if (error instanceof BtsError && error.code === 'ABORTED') return undefined;
    throw error;
  }
}

/** Optimizer, schedule and data of one run. */
class Run implements Disposable {
  readonly optimizer: AdamW;
  private readonly fixed: Record<string, unknown>;
  private readonly accumulation: number;
  private readonly recompute: boolean;
  private readonly seed: number;
  // Where the data stands after the updates done; it may have been read further.
  private cursor: MixtureState;
  private ahead: Promise<MixtureBatch> | undefined;

  constructor(
    private readonly model: LanguageModel,
    private readonly data: Mixture,
    private readonly schedule: Required<ScheduleOptions>,
    { accumulation = 1, recompute = false, seed = 0, ...options }: TrainOptions,
  ) {
    this.optimizer = new AdamW(model.device, model.trainable, options);
    this.accumulation = accumulation;
    this.recompute = recompute;
    this.seed = seed;
    this.cursor = data.state();
    const trained = model.trainable.map(({ name }) => name);
    this.fixed = { ...schedule, ...this.optimizer.options, accumulation, seed, trained };
    // JSON has no infinity.
    this.fixed = JSON.parse(JSON.stringify(this.fixed));
  }

  get step(): number {
    return this.optimizer.steps;
  }

  state() {
    return { step: this.step, options: this.fixed, data: this.cursor };
  }

  async restore(checkpoint: string) {
    const state = await readTrainingCheckpoint(checkpoint, this.model, this.optimizer);
    for (const [name, value] of Object.entries(this.fixed)) {
      const [now, then] = [JSON.stringify(value), JSON.stringify(state.options[name])];
      if (now !== then) {
        throw new BtsError(
          'BAD_OPTION',
          `cannot resume: ${name} is ${now}, the run began with ${then}. Use the same options.`,
        );
      }
    }
    this.data.restore(state.data);
    this.cursor = state.data;
    return state;
  }

  /** One update. Throws DivergedError, with nothing changed. */
  async update(): Promise<TrainEvent & { type: 'step' }> {
    const began = performance.now();
    const step = this.step + 1;
    const batches: MixtureBatch[] = [];
    for (let i = 0; i < this.accumulation; i++) batches.push(await this.next());
    const cursor = this.data.state();
    const targets = batches.reduce((n, batch) => n + batch.targets.length, 0);

    this.optimizer.zeroGradients();
    const losses: Promise<number>[] = [];
    for (const [i, batch] of batches.entries()) {
      using scope = Scope.recording(this.model.device, { recompute: this.recompute });
      const progress = this.step / this.schedule.steps;
      const part = await this.model.trainingLoss(scope, batch, targets, hash32(this.seed, step, i), progress);
      losses.push(part.item());
      scope.backward(part);
    }
    using norm = this.optimizer.gradientNorm();
    this.ahead = this.data.next();
    this.ahead.catch(() => {}); // reported when its turn comes
    const loss = (await Promise.all(losses)).reduce((sum, part) => sum + part, 0);
    const gradientNorm = await norm.item();
    const worst = EXPLODED * Math.log(this.model.config.vocabularySize);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm) || loss > worst) {
      throw new DivergedError(step, loss, gradientNorm, batches);
    }
    const learningRate = learningRateAt(step, this.schedule);
    this.optimizer.update(norm, learningRate);
    this.cursor = cursor;
    const tokensPerSecond = (targets / (performance.now() - began)) * 1000;
    return { type: 'step', step, loss, gradientNorm, learningRate, tokensPerSecond };
  }

  private next(): Promise<MixtureBatch> {
    const { ahead } = this;
    this.ahead = undefined;
    return ahead ?? this.data.next();
  }

  [Symbol.dispose](): void {
    this.optimizer[Symbol.dispose]();
  }
}

class DivergedError extends Error {
  constructor(
    private readonly step: number,
    private readonly loss: number,
    private readonly gradientNorm: number,
    private readonly batches: readonly MixtureBatch[],
  ) {
    super('diverged');
  }

  /** Writes down the batch and says what happened and what to do. */
  async explain(training: string, checkpoint: string): Promise<BtsError> {
    const file = join(training, `diverged-at-${this.step}.json`);
    const rows = this.batches.flatMap(({ inputs, domains, tokens }) =>
      domains.map((domain, row) => ({ domain, inputs: [...inputs.subarray(row * tokens, (row + 1) * tokens)] })),
    );
    await mkdir(training, { recursive: true });
    await writeFile(file, JSON.stringify(rows));
    return new BtsError(
      'LOSS_NOT_FINITE',
      `step ${this.step} came to a loss of ${this.loss} and a gradient norm of ${this.gradientNorm}; the update was not made. ` +
        `The batch that did it is in '${file}', the state before it in '${checkpoint}'. ` +
        'Lower the learning rate or lengthen the warm-up, or look at that batch.',
    );
  }
}

function expectPositive(values: Record<string, number>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!(value >= 1) || (value !== Infinity && !Number.isSafeInteger(value))) {
      throw new BtsError('BAD_OPTION', `${name} must be a positive whole number, not ${value}.`);
    }
  }
}
