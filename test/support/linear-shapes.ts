import type { DType } from '../../lib/tensor/addon.js';

export interface Linear {
  M?: number;
  N: number;
  I: number;
  O: number;
  /** Element types of the members' weights, in turn. */
  dtypes?: DType[];
  bias?: DType[];
  residual?: 'apart' | 'in place';
  /** Ranks of what adapters add to the members' weights, in turn; 0: nothing. */
  ranks?: number[];
  /** Element types of adapters, in turn. */
  adapterDtypes?: DType[];
  /** How many neighbours, in turn, have one weight together. */
  shared?: number[];
}

// A few rows stream over the weights, four on the CPU and seven on a GPU; more are multiplied in tiles.
export const linearShapes: Linear[] = [
  { N: 1, I: 1, O: 1 },
  { N: 1, I: 33, O: 31 },
  { N: 2, I: 64, O: 3, M: 2 },
  { N: 3, I: 31, O: 33, M: 3 },
  { N: 4, I: 123, O: 130 },
  { N: 3, I: 1160, O: 40, M: 2, dtypes: ['bf16', 'f32'] },
  { N: 7, I: 72, O: 21, M: 3, dtypes: ['bf16', 'f16', 'f32'] },
  { N: 5, I: 3, O: 1, M: 2 },
  { N: 5, I: 33, O: 31, M: 5 },
  { N: 31, I: 64, O: 123 },
  { N: 33, I: 123, O: 33, M: 2 },
  { N: 123, I: 31, O: 31 },
];
