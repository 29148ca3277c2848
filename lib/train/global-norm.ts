import type { Communicator } from '../tensor/communicator.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * The norm of all elements of tensors, of one element; of a model that lies on several ranks that of all they have, the same on
 * each of them. The caller disposes it.
 */
export function globalNorm(device: Device, tensors: readonly Tensor[], members?: Communicator): Tensor {
  const norm = device.empty([1]);
  try {
    if (members === undefined || members.size === 1) {
      device.run('global_norm', { norm, gradients: tensors });
      return norm;
    }
    // One number of each rank, side by side: their norm is that of all.
    using norms = device.full([members.size], 0);
    using own = norms.slice(members.rank);
    device.run('global_norm', { norm: own, gradients: tensors });
    members.allReduce([norms]);
    device.run('global_norm', { norm, gradients: [norms] });
    return norm;
  } catch (error) {
    norm.dispose();
    throw error;
  }
}
