import { readTensor, type TensorEntry } from '../safetensors.js';

/** A small tensor in I64, I32 or I8. Throws what reading it throws. */
export async function readIntegers(entry: TensorEntry): Promise<number[]> {
  const { buffer, byteOffset, byteLength } = await readTensor(entry);
  const view = new DataView(buffer, byteOffset, byteLength);
  if (entry.dtype === 'I64')
    return Array.from({ length: byteLength / 8 }, (_, i) => Number(view.getBigInt64(8 * i, true)));
  if (entry.dtype === 'I32') return Array.from({ length: byteLength / 4 }, (_, i) => view.getInt32(4 * i, true));
  return Array.from({ length: byteLength }, (_, i) => view.getInt8(i));
}

/** Whether each input is in the group of its neighbours. */
export const isInOrder = (groups: readonly number[], size: number): boolean =>
  groups.every((group, i) => group === Math.floor(i / size));
