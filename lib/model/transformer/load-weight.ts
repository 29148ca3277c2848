import type { StoredLowRank } from '../../checkpoint/adapter.js';
import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { isPacked, type Stored } from '../../checkpoint/packed/matrix.js';
import type { TensorEntry } from '../../checkpoint/safetensors.js';
import type { QuantizedType } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import { type LowRank, Parameter } from '../../tensor/parameter.js';
import { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { MEMORY_DTYPES } from '../save.js';
import { findCodes, keepCodes, placeOfCodes } from './kept-codes.js';
import { heldType, loadPacked } from './load-packed.js';

/**
 * A tensor of a file, in the precision that it has there. Trouble with the file is told by whatever reads the tensor, but for scales and
 * zeros of what is in codes: throws BAD_CHECKPOINT, FILE_IO.
 */
export async function loadStored(device: Device, stored: Stored): Promise<Tensor> {
  return isPacked(stored) ? await loadPacked(device, stored, heldType(stored)) : loadFloats(device, stored);
}

function loadFloats(device: Device, entry: TensorEntry): Tensor {
  return device.load(entry, entry.shape, MEMORY_DTYPES[entry.dtype]!);
}

/**
 * A matrix of a file in 8 or 4 bits, which are kept for the next time. Throws what `loadStored` throws; that a number of it is not
 * finite is told by whatever reads it.
 */
export async function loadQuantized(device: Device, entry: Stored, dtype: QuantizedType): Promise<Tensor> {
  const place = isPacked(entry) ? undefined : await placeOfCodes(device, entry, dtype);
  const kept = place && (await findCodes(place));
  if (kept) return device.tensor(kept, entry.shape, dtype);
  using stored = await loadStored(device, entry);
  const matrix = device.empty(stored.shape, dtype);
  try {
    device.run('quantize', { y: matrix, x: stored });
    if (place) await keepCodes(place, matrix);
    return matrix;
  } catch (error) {
    matrix.dispose();
    throw error;
  }
}

/** What an adapter adds to a matrix: frozen, or to be trained in f32. */
export function loadLowRank(device: Device, stored: StoredLowRank, trainable = false): LowRank {
  const load = (entry: TensorEntry) =>
    trainable
      ? Parameter.trainable(device, entry.name, widened(device, loadFloats(device, entry)))
      : new Parameter(entry.name, loadFloats(device, entry));
  const down = load(stored.down);
  try {
    return { down, up: load(stored.up), scale: stored.scale };
  } catch (error) {
    down.dispose();
    throw error;
  }
}

/** A tensor in f32, which is taken over. */
function widened(device: Device, narrow: Tensor): Tensor {
  using stored = narrow;
  const wide = device.empty(stored.shape);
  try {
    device.run('convert', { y: wide, x: stored });
    return wide;
  } catch (error) {
    wide.dispose();
    throw error;
  }
}

/** A weight of a checkpoint in f32, with what its adapter adds to it. Throws what `loadStored` throws. */
export async function loadWhole(device: Device, { tensors, adapter }: DenseCheckpoint, name: string): Promise<Tensor> {
  const stored = tensors.get(name)!;
  const whole = isPacked(stored)
    ? await loadPacked(device, stored, 'f32')
    : widened(device, loadFloats(device, stored));
  try {
    const lowRank = adapter?.lowRank.get(name);
    if (lowRank) addLowRank(device, whole, lowRank);
    return whole;
  } catch (error) {
    whole.dispose();
    throw error;
  }
}

/** Adds s B A to W [O, I]. */
function addLowRank(device: Device, weight: Tensor, { down, up, scale }: StoredLowRank): void {
  using scope = Scope.inference(device);
  const [rank = 0, inputs = 0] = down.shape;
  const [outputs = 0] = up.shape;
  const loaded = (entry: TensorEntry, dtype: 'f32' | 'bf16', shape: readonly number[]) => {
    using stored = loadFloats(device, entry);
    const y = scope.empty(shape, false, dtype);
    using x = stored.reshape(...shape);
    device.run('convert', { y, x });
    return y;
  };
  const scaled = scope.track(device.full([outputs, rank, 1], 0));
  device.run('add_scaled', { y: scaled, x: loaded(up, 'f32', [outputs, rank, 1]), scale });
  const narrow = scope.empty([outputs, rank, 1]);
  device.run('convert', { y: narrow, x: scaled });
  const turned = scope.empty([rank, outputs, 1]);
  device.run('swap_axes', { y: turned, x: narrow });
  // The gradient of a weight, dW += dy^T x, with s B^T for dy and A for x.
  const dy = scope.track(turned.reshape(1, rank, outputs));
  const x = loaded(down, device.activations, [1, rank, inputs]);
  device.run('linear_backward_weight', { dweight: [weight], dbias: undefined, dy, x });
}
