/** The mean of several models' weights. */

import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import type { ParameterSpec } from '../../checkpoint/names.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { loadWhole } from '../transformer/load-weight.js';

/** The mean of one weight over all checkpoints, in f32; of an adapter counts the weight that it makes. */
export async function averageWeight(
  device: Device,
  checkpoints: readonly DenseCheckpoint[],
  spec: ParameterSpec,
): Promise<Tensor> {
  const mean = device.full(spec.shape, 0);
  try {
    for (const checkpoint of checkpoints) {
      using one = await loadWhole(device, checkpoint, spec.name);
      device.run('add_scaled', { y: mean, x: one, scale: 1 / checkpoints.length });
    }
    return mean;
  } catch (error) {
    mean.dispose();
    throw error;
  }
}
