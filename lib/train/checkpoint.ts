import { mkdir, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { BtsError, fileError } from '../base/errors.js';
import { exists, readJson, writeJson } from '../base/file.js';
import { recoverFolders, removeFolder, replaceFolder } from '../base/folder.js';
import { removeLeftovers } from '../base/siblings.js';
import { readSafetensors } from '../checkpoint/safetensors.js';
import { writeSafetensors } from '../checkpoint/safetensors-writer.js';
import type { MixtureState } from '../data/mixture.js';
import type { LanguageModel } from '../model/language-model.js';
import type { AdamW } from './adamw.js';
import { momentsOf, type Written } from './written.js';

const State = z.object({
  step: z.int().min(0),
  /** Options that the course of a run depends on: a run is resumed with the same. */
  options: z.record(z.string(), z.unknown()),
  data: z.custom<MixtureState>((value) => typeof value === 'object' && value !== null),
  /** Length of metrics.jsonl when the checkpoint was written. */
  metricsBytes: z.int().min(0),
});

/** Where a training run stands, beside weights and moments. */
export type TrainingState = z.infer<typeof State>;

const NAME = /^step-(\d+)$/;
/** The step of a checkpoint, by the name of its folder. */
export const stepOf = (checkpoint: string) => Number(NAME.exec(basename(checkpoint))![1]);
const nameOf = (step: number) => `step-${String(step).padStart(7, '0')}`;

/** The folder of a run's checkpoints and metrics, beside the folder of the model that it makes. */
export function trainingFolder(modelFolder: string): string {
  return `${modelFolder.replace(/\/+$/, '')}.training`;
}

/** Checkpoints of a run, oldest first. */
async function listCheckpoints(folder: string): Promise<string[]> {
  if (!(await exists(folder))) return [];
  try {
    await recoverFolders(folder);
    const names = await readdir(folder);
    return names.filter((name) => NAME.test(name)).sort((a, b) => stepOf(a) - stepOf(b));
  } catch (error) {
    throw fileError(error, folder, 'looking for checkpoints');
  }
}

/** The newest checkpoint of a run, a model's folder with the state of its training in it, or undefined. */
export async function newestCheckpoint(folder: string): Promise<string | undefined> {
  const newest = (await listCheckpoints(folder)).at(-1);
  return newest && join(folder, newest);
}

/** Writes a checkpoint and keeps the newest `keep`, this one among them. The model is whole in it, so any checkpoint can be used. */
export async function writeTrainingCheckpoint(
  folder: string,
  { write, moments }: Written,
  state: TrainingState,
  keep: number,
): Promise<string> {
  const path = join(folder, nameOf(state.step));
  await replaceFolder(path, async (temporary) => {
    await write(temporary);
    const training = join(temporary, 'training');
    await mkdir(training);
    await writeJson(join(training, 'state.json'), state);
    await writeSafetensors(join(training, 'optimizer.safetensors'), moments);
  });
  await clearTraining(folder);
  try {
    // Whole or gone: half of a later one, of a course that was left, would be taken for the newest.
    for (const old of await superfluous(folder, state.step, keep)) await removeFolder(join(folder, old));
  } catch (error) {
    throw fileError(error, folder, 'removing old checkpoints');
  }
  return path;
}

/** Removes what killed runs were writing or deleting in the folder of a run. @throws FILE_IO */
export async function clearTraining(folder: string): Promise<void> {
  try {
    await removeLeftovers(folder);
  } catch (error) {
    throw fileError(error, folder, 'removing what a killed run left');
  }
}

/** All but the newest `keep` up to `step`. Later ones are of a course that was left when an earlier one was resumed. */
async function superfluous(folder: string, step: number, keep: number): Promise<string[]> {
  const checkpoints = await listCheckpoints(folder);
  const kept = checkpoints.filter((name) => stepOf(name) <= step).slice(-keep);
  return checkpoints.filter((name) => !kept.includes(name));
}

/** Puts moments and step count of a checkpoint into the optimizer and returns the rest. Throws BAD_CHECKPOINT. */
export async function readTrainingCheckpoint(
  checkpoint: string,
  model: LanguageModel,
  optimizer: AdamW,
): Promise<TrainingState> {
  const training = join(checkpoint, 'training');
  const parsed = State.safeParse(await readJson(join(training, 'state.json'), 'BAD_CHECKPOINT'));
  if (!parsed.success) {
    throw new BtsError('BAD_CHECKPOINT', `'${training}/state.json' is malformed: ${z.prettifyError(parsed.error)}`);
  }
  const { tensors } = await readSafetensors(join(training, 'optimizer.safetensors'));
  for (const { name, shape, first, tensor } of momentsOf(model, optimizer)) {
    const entry = tensors.get(name);
    if (entry?.dtype !== 'F32' || `${entry.shape}` !== `${shape}`) {
      throw new BtsError('BAD_CHECKPOINT', `'${training}' holds no moments for ${name} of shape [${shape}].`);
    }
    const offset = entry.offset + first * (entry.bytes / (shape[0] || 1));
    using stored = tensor.device.load({ ...entry, offset }, tensor.shape, 'f32');
    tensor.device.run('convert', { y: tensor, x: stored });
    await stored.settled();
  }
  optimizer.steps = parsed.data.step;
  return parsed.data;
}
