import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Mixture } from '../../lib/data/mixture.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { newestCheckpoint, trainingFolder } from '../../lib/train/checkpoint.js';
import type { TrainEvent } from '../../lib/train/events.js';
import type { TrainOptions } from '../../lib/train/options.js';
import { train } from '../../lib/train/trainer.js';
import { randomTokens } from './models.js';

/** Two domains that differ, as rows of 8 tokens; another `text` has as many others. */
export function tinyMixture(seed = 7, batchSize = 3, text = 0): Mixture {
  const domains = ['words', 'numbers'].map((name, index) => ({
    name,
    tokens: new ArrayTokens(randomTokens(600, text + index + 1, index === 0 ? 64 : 200)),
    weight: index + 1,
  }));
  return new Mixture(domains, { sequenceLength: 8, batchSize, seed });
}

export const loadDense = (device: Device, folder: string) => DenseModel.load(device, folder, { trainable: true });
export const loadStitched = (device: Device, folder: string) => StitchedModel.load(device, folder, { trainable: true });

/** Trains to the end, or as far as it comes, and returns what was reported. */
export async function runTraining(
  model: LanguageModel,
  options: TrainOptions,
  data = tinyMixture(),
): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  for await (const event of train(model, data, options)) events.push(event);
  return events;
}

/** Trains until update `last` was reported, then stops as Ctrl-C does. */
export async function stopTrainingAfter(
  last: number,
  model: LanguageModel,
  options: TrainOptions,
): Promise<TrainEvent[]> {
  const controller = new AbortController();
  const events: TrainEvent[] = [];
  for await (const event of train(model, tinyMixture(), { ...options, signal: controller.signal })) {
    events.push(event);
    if (event.type === 'step' && event.step === last) controller.abort();
  }
  return events;
}

/** The bytes of a model's weights file. */
export function weights(folder: string, file = 'model.safetensors'): Promise<Buffer> {
  return readFile(join(folder, file));
}

/** The newest checkpoint of the run that makes `folder`. */
export function newestOf(folder: string): Promise<string | undefined> {
  return newestCheckpoint(trainingFolder(folder));
}
