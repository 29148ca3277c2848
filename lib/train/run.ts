import { BtsError } from '../base/errors.js';
import { parseOptions } from '../base/options-check.js';
import { show } from '../base/show.js';
import type { Mixture, MixtureState } from '../data/mixture.js';
import type { LanguageModel } from '../model/language-model.js';
import type { Communicator } from '../tensor/communicator.js';
import { AdamW, adamwOptions } from './adamw.js';
import { readTrainingCheckpoint } from './checkpoint.js';
import { DivergedError } from './diverged.js';
import type { TrainEvent } from './events.js';
import type { CheckedTrainOptions } from './options.js';
import { learningRateAt, type Schedule } from './schedule.js';
import { StepGradients } from './step-gradients.js';

// Guessing uniformly costs ln V; a model that is this much worse than guessing will not come back.
const EXPLODED = 3;

/** Optimizer, schedule and data of one run, the same on all of its ranks. */
export class Run implements Disposable {
  readonly optimizer: AdamW;
  /** What the course of the run depends on, as it was when it began. */
  fixed: Record<string, unknown>;
  private readonly gradients: StepGradients;
  // Where the data stands after the updates done; it may have been read further.
  private cursor: MixtureState;

  constructor(
    private readonly model: LanguageModel,
    private readonly data: Mixture,
    private readonly schedule: Schedule,
    private readonly communicator: Communicator,
    options: CheckedTrainOptions,
  ) {
    const { accumulation, seed, identity = {} } = options;
    this.optimizer = new AdamW(model.device, model.trainable, parseOptions(adamwOptions, options));
    this.gradients = new StepGradients(model, data, this.optimizer, communicator, options);
    this.cursor = data.state();
    const { batchSize, sequenceLength } = data.options;
    const { precision, activations } = model.device;
    this.fixed = {
      ...identity,
      ...schedule,
      ...this.optimizer.options,
      ...{ accumulation, seed, batchSize, ranks: communicator.size, sequenceLength, precision, activations },
      trained: (model.spread?.weights ?? model.trainable).map(({ name }) => name),
    };
    // JSON has no infinity.
    this.fixed = JSON.parse(JSON.stringify(this.fixed));
  }

  get step(): number {
    return this.optimizer.steps;
  }

  /** Ranks that the run began with, and sequences of a batch of all of them. */
  get begun(): { ranks: number; batch: number } {
    const { ranks, batchSize } = this.fixed as { ranks: number; batchSize: number };
    return { ranks, batch: ranks * batchSize };
  }

  state() {
    return { step: this.step, options: this.fixed, data: this.cursor };
  }

  /** On another number of ranks batches stay what they were; batchSize is then how many sequences a rank computes at a time. */
  async restore(checkpoint: string) {
    const state = await readTrainingCheckpoint(checkpoint, this.model, this.optimizer);
    const { ranks = 1, batchSize } = state.options;
    const begun = ranks === this.communicator.size ? this.fixed : { ...this.fixed, ranks, batchSize };
    const difference = firstDifference(begun, state.options);
    if (difference) throw new BtsError('BAD_OPTION', `cannot resume: ${difference}. Use the same options.`);
    this.data.restore(state.data);
    this.fixed = begun;
    this.cursor = state.data;
    return state;
  }

  /** One update. Throws DivergedError, with nothing changed. */
  async update(): Promise<TrainEvent & { type: 'step' }> {
    const began = performance.now();
    const step = this.step + 1;
    const rows = this.begun.batch;
    const progress = this.step / this.schedule.steps;
    const { loss, gradientNorm, norm: tensor, cursor, sumsMs } = await this.gradients.compute({ step, rows, progress });
    using norm = tensor;
    const worst = EXPLODED * Math.log(this.model.config.vocabularySize);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm) || loss > worst) {
      throw new DivergedError(step, loss, gradientNorm, () => this.gradients.readAgain(this.cursor, rows));
    }
    const learningRate = learningRateAt(step, this.schedule);
    this.optimizer.update(norm, learningRate);
    this.cursor = cursor;
    const tokens = (this.fixed.accumulation as number) * rows * this.data.options.sequenceLength;
    const tokensPerSecond = (tokens / (performance.now() - began)) * 1000;
    const spent = sumsMs.length > 1 && { sumsMs };
    return { type: 'step', step, loss, gradientNorm, learningRate, tokensPerSecond, ...spent };
  }

  [Symbol.dispose](): void {
    this.optimizer.dispose();
  }
}

/** What the options of a run say, and those it began with do not. Older versions did not keep all of them. */
function firstDifference(now: Record<string, unknown>, then: Record<string, unknown>): string | undefined {
  const name = Object.keys(now).find(
    (name) => Object.hasOwn(then, name) && show(now[name], Infinity) !== show(then[name], Infinity),
  );
  if (name === undefined) return undefined;
  if (name !== 'trained') return `${name} is ${show(now[name], 1000)}, the run began with ${show(then[name], 1000)}`;
  const [trained, before] = [now[name] as string[], then[name] as string[]];
  const more = trained.find((weight) => !before.includes(weight));
  const less = before.find((weight) => !trained.includes(weight));
  if (more) return `${more} is to be trained, which was not when the run began`;
  return `${less ?? 'another order of weights'} was trained when the run began, and is not to be now`;
}
