import { BtsError } from '../base/errors.js';
import { hash32 } from '../base/random.js';
import type { Mixture, MixtureBatch, MixtureState } from '../data/mixture.js';
import type { LanguageModel } from '../model/language-model.js';
import type { Communicator } from '../tensor/communicator.js';
import { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import { together } from '../tensor/together.js';
import type { AdamW } from './adamw.js';
import { GradientSync } from './gradient-sync.js';
import type { CheckedTrainOptions } from './options.js';
import { parts, shareOf } from './share.js';
import { bytesToKeep } from './step-memory.js';

/** Which update it is. */
export interface Update {
  /** From 1. */
  step: number;
  /** Sequences of a batch, those of all ranks together. */
  rows: number;
  /** How much of the run is done, from 0 to 1. */
  progress: number;
}

/** What came of an update's batches, the same on all ranks. */
export interface Differentiated {
  /** Mean over all targets. */
  loss: number;
  gradientNorm: number;
  /** The same on the device, for the optimizer; the caller disposes it. */
  norm: Tensor;
  /** Where the data stands behind these batches. */
  cursor: MixtureState;
  /** Milliseconds that each rank's device spent in sums, waiting for others included. */
  sumsMs: number[];
}

/** Computes the gradients of updates: each rank of its share of the rows, summed over all ranks. */
export class StepGradients {
  private readonly sync: GradientSync | undefined;
  /** Bytes that an update keeps and could compute again; undefined before the first one. */
  private keep: number | undefined;
  private keptLess = false;
  private ahead: Promise<MixtureBatch> | undefined;

  constructor(
    private readonly model: LanguageModel,
    private readonly data: Mixture,
    private readonly optimizer: AdamW,
    private readonly communicator: Communicator,
    private readonly options: Pick<CheckedTrainOptions, 'accumulation' | 'recompute' | 'seed'>,
  ) {
    this.sync = communicator.size > 1 ? new GradientSync(communicator, model.trainable) : undefined;
  }

  /** Leaves the gradients of an update with the parameters. Throws what went wrong, on all ranks. */
  async compute(update: Update): Promise<Differentiated> {
    const taken = this.take(update.rows);
    const cursor = this.data.state();
    return await this.attempt(update, taken, cursor).catch((error) => {
      this.keepLess(error);
      return this.attempt(update, taken, cursor);
    });
  }

  /** All batches of the rows behind a place, whole: what an update went wrong with. */
  async readAgain(from: MixtureState, rows: number): Promise<MixtureBatch[]> {
    this.data.restore(from);
    const batches: MixtureBatch[] = [];
    for (let i = 0; i < this.options.accumulation; i++) {
      batches.push(await this.data.next({ of: rows, first: 0, last: rows }));
    }
    return batches;
  }

  private async attempt(update: Update, taken: Promise<MixtureBatch[]>, cursor: MixtureState): Promise<Differentiated> {
    let norm: Tensor | undefined;
    try {
      const work = async () => {
        const losses: Promise<number>[] = [];
        this.sync?.begin();
        try {
          this.optimizer.zeroGradients();
          await this.backward(update, await taken, losses);
        } finally {
          this.sync?.finish();
        }
        norm = this.optimizer.gradientNorm(this.model.spread?.members);
        this.ahead ??= this.read(update.rows);
        this.ahead.catch(() => {}); // reported when its turn comes
        const loss = sum(await Promise.all(losses));
        // As texts: JSON has no NaN.
        return { loss: `${loss}`, norm: `${await norm.item()}`, sumsMs: this.sync?.spentMs() ?? 0 };
      };
      // Members on ranks of their own wait for one another in every stitch.
      const outcomes = await together(this.communicator, work, { entangled: this.model.spread !== undefined });
      await this.sync?.learn();
      const loss = sum(outcomes.map(({ loss }) => Number(loss)));
      const sumsMs = outcomes.map(({ sumsMs }) => sumsMs);
      return { loss, gradientNorm: Number(outcomes[0]!.norm), norm: norm!, cursor, sumsMs };
    } catch (error) {
      norm?.dispose();
      throw error;
    }
  }

  private async backward(
    { step, rows, progress }: Update,
    batches: readonly MixtureBatch[],
    losses: Promise<number>[],
  ) {
    const { model, data, options, communicator } = this;
    const { batchSize, sequenceLength } = data.options;
    const targets = options.accumulation * rows * sequenceLength;
    const { first, last } = shareOf(rows, communicator);
    const shape = { batchSize: Math.min(batchSize, last - first), sequenceLength };
    this.keep ??= bytesToKeep(model, { ...shape, ...options });
    const all = batches.flatMap((batch, i) => parts(batch, batchSize).map((part) => ({ part, i })));
    for (const [n, { part, i }] of all.entries()) {
      using scope = Scope.recording(model.device, { keep: this.keep });
      const mean = await model.trainingLoss(scope, part, targets, hash32(options.seed, step, i), progress);
      const loss = mean.item();
      loss.catch(() => {}); // reported by whoever awaits it, unless something else ends the update before
      losses.push(loss);
      scope.backward(mean, n === all.length - 1 ? this.sync?.watch : undefined);
    }
  }

  /** Throws what went wrong, unless it may go well where less is kept: on all ranks alike. */
  private keepLess(error: unknown): void {
    const isMemory = error instanceof BtsError && error.code === 'OUT_OF_MEMORY';
    if (!isMemory || this.options.recompute !== 'auto' || this.keptLess || this.model.spread) throw error;
    this.keptLess = true;
    this.keep = 0;
  }

  /** The batches of an update, of each this rank's share. */
  private take(rows: number): Promise<MixtureBatch[]> {
    const batches: Promise<MixtureBatch>[] = [];
    for (let i = 0; i < this.options.accumulation; i++) {
      batches.push(this.ahead ?? this.read(rows));
      this.ahead = undefined;
    }
    const all = Promise.all(batches);
    all.catch(() => {}); // reported by whoever awaits it
    return all;
  }

  private read(rows: number): Promise<MixtureBatch> {
    return this.data.next(shareOf(rows, this.communicator));
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
