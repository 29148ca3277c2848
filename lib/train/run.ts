import { join } from 'node:path';
import { BtsError } from '../base/errors.js';
import { parseOptions } from '../base/options-check.js';
import { overwrite } from '../base/overwrite.js';
import { hash32 } from '../base/random.js';
import { show } from '../base/show.js';
import type { Mixture, MixtureBatch, MixtureState } from '../data/mixture.js';
import type { Recompute } from '../model/cost/cost.js';
import type { LanguageModel } from '../model/language-model.js';
import { Scope } from '../tensor/scope.js';
import { AdamW, adamwOptions } from './adamw.js';
import { readTrainingCheckpoint } from './checkpoint.js';
import type { TrainEvent } from './events.js';
import type { CheckedTrainOptions } from './options.js';
import { learningRateAt, type Schedule } from './schedule.js';
import { bytesToKeep } from './step-memory.js';

// Guessing uniformly costs ln V; a model that is this much worse than guessing will not come back.
const EXPLODED = 3;

/** Optimizer, schedule and data of one run. */
export class Run implements Disposable {
  readonly optimizer: AdamW;
  private readonly fixed: Record<string, unknown>;
  private readonly accumulation: number;
  private readonly recompute: Recompute;
  /** Bytes that an update keeps and could compute again; undefined before the first one. */
  private keep: number | undefined;
  private readonly seed: number;
  // Where the data stands after the updates done; it may have been read further.
  private cursor: MixtureState;
  private ahead: Promise<MixtureBatch> | undefined;

  constructor(
    private readonly model: LanguageModel,
    private readonly data: Mixture,
    private readonly schedule: Schedule,
    options: CheckedTrainOptions,
  ) {
    const { accumulation, recompute, seed, identity = {} } = options;
    this.optimizer = new AdamW(model.device, model.trainable, parseOptions(adamwOptions, options));
    this.accumulation = accumulation;
    this.recompute = recompute;
    this.seed = seed;
    this.cursor = data.state();
    const { batchSize, sequenceLength } = data.options;
    const { precision, activations } = model.device;
    this.fixed = {
      ...identity,
      ...schedule,
      ...this.optimizer.options,
      ...{ accumulation, seed, batchSize, sequenceLength, precision, activations },
      trained: model.trainable.map(({ name }) => name),
    };
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
    const difference = firstDifference(this.fixed, state.options);
    if (difference) throw new BtsError('BAD_OPTION', `cannot resume: ${difference}. Use the same options.`);
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

    const differentiate = () => this.differentiate(batches, targets);
    const {
      loss,
      gradientNorm,
      norm: tensor,
    } = await differentiate().catch((error) => {
      this.keepLess(error);
      return differentiate();
    });
    using norm = tensor;
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

  /** The gradients of an update, and what is read of them; the caller disposes `norm`. */
  private async differentiate(batches: readonly MixtureBatch[], targets: number) {
    const { model, optimizer, accumulation, recompute } = this;
    this.keep ??= bytesToKeep(model, { ...this.data.options, accumulation, recompute });
    optimizer.zeroGradients();
    const losses: Promise<number>[] = [];
    for (const [i, batch] of batches.entries()) {
      using scope = Scope.recording(model.device, { keep: this.keep });
      const seed = hash32(this.seed, this.step + 1, i);
      const part = await model.trainingLoss(scope, batch, targets, seed, this.step / this.schedule.steps);
      const loss = part.item();
      loss.catch(() => {}); // reported below, unless something else ends the update before
      losses.push(loss);
      scope.backward(part);
    }
    const norm = optimizer.gradientNorm();
    try {
      this.ahead ??= this.data.next();
      this.ahead.catch(() => {}); // reported when its turn comes
      const loss = (await Promise.all(losses)).reduce((sum, part) => sum + part, 0);
      return { loss, gradientNorm: await norm.item(), norm };
    } catch (error) {
      norm.dispose();
      throw error;
    }
  }

  /** Throws what went wrong, unless it may go well where less is kept. */
  private keepLess(error: unknown): void {
    const isMemory = error instanceof BtsError && error.code === 'OUT_OF_MEMORY';
    if (!isMemory || this.recompute !== 'auto' || this.keep === 0) throw error;
    this.keep = 0;
  }

  private next(): Promise<MixtureBatch> {
    const { ahead } = this;
    this.ahead = undefined;
    return ahead ?? this.data.next();
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

export class DivergedError extends Error {
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
    await overwrite(file, JSON.stringify(rows));
    return new BtsError(
      'LOSS_NOT_FINITE',
      `step ${this.step} came to a loss of ${this.loss} and a gradient norm of ${this.gradientNorm}; the update was not made. ` +
        `The batch that did it is in '${file}', the state before it in '${checkpoint}'. ` +
        'Lower the learning rate or lengthen the warm-up, or look at that batch.',
    );
  }
}
