import { join } from 'node:path';
import { exists } from '../base/file.js';
import { recoverFolder } from '../base/folder.js';
import { expectOptions } from '../base/options-check.js';
import { BASELINE_FILE, baselineConfig, readBaseline } from '../checkpoint/baseline-manifest.js';
import type { ModelConfig } from '../checkpoint/config.js';
import { readConfig } from '../checkpoint/dense-checkpoint.js';
import { readManifest } from '../checkpoint/stitch-manifest.js';
import type { Device } from '../tensor/device.js';
import { EnsembleModel } from './baselines/ensemble.js';
import { MixtureModel } from './baselines/mixture-model.js';
import { RoutedModel } from './baselines/routed.js';
import { SparseModel } from './baselines/sparse-model.js';
import { DenseModel } from './dense-model.js';
import type { LanguageModel, LoadModelOptions } from './language-model.js';
import { StitchedModel } from './stitched-model.js';
import { QUANTIZE_OPTIONS } from './transformer/quantization.js';

/**
 * Loads whatever lies in a folder: a dense checkpoint, a stitched model or another system made of several models.
 * Throws what loading them throws; ABORTED.
 *
 * @param folder the model's folder
 */
export async function loadModel(
  device: Device,
  folder: string,
  options: LoadModelOptions = {},
): Promise<LanguageModel> {
  expectOptions('loadModel', options, { trainable: true, verify: true, signal: true, ...QUANTIZE_OPTIONS });
  const { members, quantize, verify, signal } = options;
  await recoverFolder(folder);
  if (await isStitched(folder)) return StitchedModel.load(device, folder, options);
  if (!(await exists(join(folder, BASELINE_FILE)))) return DenseModel.load(device, folder, options);
  const { system } = await readBaseline(folder);
  if (system === 'btm') return EnsembleModel.load(device, folder, { members, quantize, verify, signal });
  if (system === 'routing') return RoutedModel.load(device, folder, options);
  if (system === 'sparse') return SparseModel.load(device, folder, options);
  return MixtureModel.load(device, folder, options);
}

/** Whether a stitched model lies in a folder. */
export const isStitched = (folder: string): Promise<boolean> => exists(join(folder, 'bts.json'));

/** The configuration of what lies in a folder: of several models the hub's. Throws what reading it throws. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  await recoverFolder(folder);
  if (await isStitched(folder)) return readConfig((await readManifest(folder)).members[0]!.path);
  if (!(await exists(join(folder, BASELINE_FILE)))) return readConfig(folder);
  const manifest = await readBaseline(folder);
  if ('members' in manifest) return readConfig(manifest.members[0]!.path);
  if ('model' in manifest) return readModelConfig(manifest.model.path);
  return baselineConfig(manifest, folder);
}
