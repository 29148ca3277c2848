import { readGroupNumbers } from '../../checkpoint/packed/group-numbers.js';
import { isPacked, type PackedMatrix, type Stored } from '../../checkpoint/packed/matrix.js';
import { type FloatType, isQuantized, type QuantizedType } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { MEMORY_DTYPES } from '../save.js';

const LAYOUTS = { gptq: 'inputs', awq: 'outputs', packed: 'rows', bytes: 'bytes' } as const;

/** What a matrix in codes is held in where nothing else is asked for. */
export const heldType = ({ held }: PackedMatrix): QuantizedType | FloatType =>
  held === 'int8' || held === 'int4' ? held : MEMORY_DTYPES[held]!;

/** Whether a weight stays in the codes of its file, whatever is asked for. */
export const hasOwnCodes = (stored: Stored): boolean => isPacked(stored) && isQuantized(heldType(stored));

/**
 * A matrix in codes: the same numbers in f32 or in our codes, or rounded to another type. Throws BAD_CHECKPOINT for scales and zeros that
 * cannot be, and what reading them throws.
 */
export async function loadPacked(
  device: Device,
  matrix: PackedMatrix,
  dtype: QuantizedType | FloatType,
): Promise<Tensor> {
  if (!isQuantized(dtype) && dtype !== 'f32') {
    using wide = await loadPacked(device, matrix, 'f32');
    return converted(device, wide, dtype);
  }
  const { scales, zeros, groups } = await readGroupNumbers(matrix);
  const { scheme, shape, codes, scales: stored } = matrix;
  const perGroup = [shape[0]!, scales.length / shape[0]!];
  using scaleTensor = device.tensor(scales, perGroup, MEMORY_DTYPES[stored.dtype]!);
  using zeroTensor = device.tensor(zeros, perGroup);
  using groupTensor = device.tensor(groups, [groups.length]);
  using codeTensor = device.load(codes, [codes.bytes / 4], 'i32');
  const y = device.empty(shape, dtype);
  try {
    device.run('unpack', {
      y,
      codes: codeTensor,
      scales: scaleTensor,
      zeros: zeroTensor,
      groups: groupTensor,
      layout: LAYOUTS[scheme.layout],
      bits: `${scheme.bits}`,
    });
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}

/** A matrix in codes as one in floats, of the type of its scales. Throws what `loadPacked` throws. */
export const loadWidened = (device: Device, matrix: PackedMatrix): Promise<Tensor> =>
  loadPacked(device, matrix, MEMORY_DTYPES[matrix.scales.dtype]!);

function converted(device: Device, x: Tensor, dtype: FloatType): Tensor {
  const y = device.empty(x.shape, dtype);
  try {
    device.run('convert', { y, x });
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}
