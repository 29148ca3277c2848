/** The mean of several models' weights. */

import { BtsError } from '../../base/errors.js';
import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { familyOf } from '../../checkpoint/families/index.js';
import type { ParameterSpec } from '../../checkpoint/names.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { loadWhole } from '../transformer/load-weight.js';

/** Throws MEMBERS_DIFFER unless all weights have a counterpart in every model. */
export function expectAveragable(checkpoints: readonly DenseCheckpoint[]): void {
  const [hub] = checkpoints;
  expectSameNames(checkpoints);
  const other = checkpoints.find(({ config }) => config.embedding.tied !== hub!.config.embedding.tied);
  if (!other) return;
  throw new BtsError(
    'MEMBERS_DIFFER',
    `weights can be averaged where all models have the same: '${hub!.folder}' and '${other.folder}' differ in whether ` +
      'the head is the embedding.',
  );
}

/** Families may store the same weights in other pieces. */
function expectSameNames([hub, ...others]: readonly DenseCheckpoint[]): void {
  const layerNames = ({ config }: DenseCheckpoint) =>
    `${familyOf(config)
      .layer(config)
      .map(({ name }) => name)}`;
  const other = others.find((checkpoint) => layerNames(checkpoint) !== layerNames(hub!));
  if (!other) return;
  throw new BtsError(
    'MEMBERS_DIFFER',
    `weights can be averaged where all models have the same: '${hub!.folder}' (${hub!.config.family}) and ` +
      `'${other.folder}' (${other.config.family}) store the weights of a layer as other tensors.`,
  );
}

/** The mean of one weight over all checkpoints, in f32; of an adapter counts the weight that it makes. */
export function averageWeight(device: Device, checkpoints: readonly DenseCheckpoint[], spec: ParameterSpec): Tensor {
  const mean = device.full(spec.shape, 0);
  try {
    for (const checkpoint of checkpoints) {
      using one = loadWhole(device, checkpoint, spec.name);
      device.run('add_scaled', { y: mean, x: one, scale: 1 / checkpoints.length });
    }
    return mean;
  } catch (error) {
    mean.dispose();
    throw error;
  }
}
