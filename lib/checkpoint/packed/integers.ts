import { readTensor, type TensorEntry } from '../safetensors.js';
import { quote } from '../safetensors-header.js';
import type { Complain } from './check-shapes.js';

/** A small tensor of integers. Throws what `fail` makes of other types, and what reading it throws. */
export async function readIntegers(entry: TensorEntry, fail: Complain): Promise<number[]> {
  const { buffer, byteOffset, byteLength } = await readTensor(entry);
  const view = new DataView(buffer, byteOffset, byteLength);
  if (entry.dtype === 'I64')
    return Array.from({ length: byteLength / 8 }, (_, i) => Number(view.getBigInt64(8 * i, true)));
  if (entry.dtype === 'I32') return Array.from({ length: byteLength / 4 }, (_, i) => view.getInt32(4 * i, true));
  if (entry.dtype === 'I8') return Array.from({ length: byteLength }, (_, i) => view.getInt8(i));
  throw fail(`has ${quote(entry.name)} in ${entry.dtype}, not in integers`);
}

/** Whether each input is in the group of its neighbours. */
export const isInOrder = (groups: readonly number[], size: number): boolean =>
  groups.every((group, i) => group === Math.floor(i / size));
