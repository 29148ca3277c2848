import { BtsError } from '../../base/errors.js';
import type { TensorEntry } from '../../checkpoint/safetensors.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Trained weights of a folder. */
export interface StoredWeights {
  tensors: ReadonlyMap<string, TensorEntry>;
  /** Whether they are to be trained further. */
  trainable: boolean;
}

/** A trained weight as it was written, in f32. Throws BAD_STITCH where it is missing or has another shape. */
export function loadParameter(
  device: Device,
  { tensors, trainable }: StoredWeights,
  name: string,
  shape: readonly number[],
): Parameter {
  const entry = tensors.get(name);
  if (entry?.dtype !== 'F32' || `${entry.shape}` !== `${shape}`) {
    const came = entry ? `${entry.dtype} [${entry.shape}]` : 'nothing';
    throw new BtsError('BAD_STITCH', `${name} must be F32 [${shape}], there is ${came}.`);
  }
  const value = device.load(entry, shape, 'f32');
  return trainable ? Parameter.trainable(device, name, value) : new Parameter(name, value);
}

/** The matrix [width, width] that changes nothing: what projections and adapters begin with. */
export function identity(device: Device, width: number): Tensor {
  const data = new Float32Array(width * width);
  for (let i = 0; i < width; i++) data[i * width + i] = 1;
  return device.tensor(data, [width, width]);
}
