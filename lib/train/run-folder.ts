import { BtsError } from '../base/errors.js';
import { replaceFolder } from '../base/folder.js';
import { lockFolder } from '../base/lock.js';
import {
  clearTraining,
  newestCheckpoint,
  type TrainingState,
  trainingFolder,
  writeTrainingCheckpoint,
} from './checkpoint.js';
import { Metrics } from './metrics.js';
import type { Written } from './written.js';

/** What a run writes: the model at its end, checkpoints and metrics beside it. Rank 0 alone has it. */
export class RunFolder implements AsyncDisposable {
  /** Of checkpoints and metrics. */
  readonly training: string;

  private constructor(
    private readonly folder: string,
    private readonly lock: AsyncDisposable,
    private metrics: Metrics | undefined,
  ) {
    this.training = trainingFolder(folder);
  }

  /** Locks the folder. Throws BAD_OPTION where it has checkpoints of a run that is not resumed; FOLDER_IN_USE, FILE_IO. */
  static async open(folder: string, isResumed: boolean): Promise<RunFolder> {
    const opened = new RunFolder(folder, await lockFolder(folder), undefined);
    try {
      const unfinished = isResumed ? undefined : await newestCheckpoint(opened.training);
      if (!unfinished) return opened;
      throw new BtsError(
        'BAD_OPTION',
        `'${unfinished}' is a checkpoint of an unfinished run: resume it, choose another folder, or remove '${opened.training}'.`,
      );
    } catch (error) {
      await opened[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Goes on behind the first `metricsBytes` of the metrics; what a killed run left is removed. */
  async begin(metricsBytes: number): Promise<void> {
    this.metrics = await Metrics.open(this.training, metricsBytes);
    await clearTraining(this.training);
  }

  async report(event: object): Promise<void> {
    await this.metrics!.write({ time: new Date().toISOString(), ...event });
  }

  /** Writes a checkpoint, of which `keep` are kept, and returns its folder. */
  async save(written: Written, state: Omit<TrainingState, 'metricsBytes'>, keep: number): Promise<string> {
    const metricsBytes = await this.metrics!.flush();
    return await writeTrainingCheckpoint(this.training, written, { ...state, metricsBytes }, keep);
  }

  /** Writes the finished model. */
  async finish(write: (folder: string) => Promise<void>): Promise<void> {
    await this.metrics!.flush();
    await replaceFolder(this.folder, write);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.metrics?.[Symbol.asyncDispose]();
    await this.lock[Symbol.asyncDispose]();
  }
}
