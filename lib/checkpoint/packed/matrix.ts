/** Matrices that were quantized by others, as they lie in files. */
import type { QuantizedType } from '../../tensor/addon.js';
import type { TensorEntry } from '../safetensors.js';
import type { Scheme } from './scheme.js';

/** A matrix [O, I] in codes. */
export interface PackedMatrix {
  /** As the matrix would be called if it were one tensor. */
  name: string;
  shape: number[];
  scheme: Scheme;
  codes: TensorEntry;
  scales: TensorEntry;
  /** Absent: the middle of all codes. */
  zeros?: TensorEntry | undefined;
  /** The group of each input, where groups are not of neighbours, and the tensor that says so. */
  groups?: Int32Array | undefined;
  order?: TensorEntry | undefined;
  /** The same numbers in our codes, if those can be; else the type of its scales, to which every number is rounded once. */
  held: QuantizedType | 'F32' | 'F16' | 'BF16';
}

/** A weight of a checkpoint: a tensor of floats, or a matrix in codes. */
export type Stored = TensorEntry | PackedMatrix;

export const isPacked = (stored: Stored): stored is PackedMatrix => 'scheme' in stored;

export const isFloats = (stored: Stored): stored is TensorEntry => !isPacked(stored);

/** The tensors that hold a weight. */
export function partsOf(stored: Stored): TensorEntry[] {
  if (!isPacked(stored)) return [stored];
  const { codes, scales, zeros, order } = stored;
  return [codes, scales, zeros, order].filter((part) => part !== undefined);
}

/** Equal for equal weights, by what each tensor of a folder holds. */
export function contentOf(stored: Stored, contents: ReadonlyMap<string, string>): string {
  const parts = partsOf(stored).map(({ name }) => contents.get(name)!);
  return isPacked(stored) ? JSON.stringify([...parts, stored.scheme]) : parts[0]!;
}

/**
 * What the numbers of a matrix can be held in without changing any (native/quantized.h): int4 where 32 neighbours have a scale in
 * common, and a scale times a zero is a number of f32; int8 where 128 do, and zeros are the middle.
 */
export function ownCodes({ shape, scheme, scales, groups }: Omit<PackedMatrix, 'held'>): PackedMatrix['held'] {
  const { bits, groupSize, symmetric } = scheme;
  const isWhole = (size: number) => !groups && (groupSize === null || groupSize === shape[1] || groupSize % size === 0);
  const floats = scales.dtype as 'F32' | 'F16' | 'BF16';
  if (bits === 4 && isWhole(32) && floats !== 'F32') return 'int4';
  if (bits === 8 && isWhole(128) && symmetric) return 'int8';
  return floats;
}
