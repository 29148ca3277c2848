import type { ModelConfig } from '../lib/checkpoint/config.js';
import { llamaConfig } from '../lib/checkpoint/families/llama.js';

/** The shape of a benchmark: four models, three of them experts, with four stitches, and a batch. */
export interface Size {
  width: number;
  layers: number;
  feedForwardWidth: number;
  heads: number;
  keyValueHeads: number;
  vocabularySize: number;
  batch: number;
  tokens: number;
}

export const SIZES = {
  tiny: {
    width: 256,
    layers: 8,
    feedForwardWidth: 688,
    heads: 8,
    keyValueHeads: 2,
    vocabularySize: 4096,
    batch: 8,
    tokens: 256,
  },
  small: {
    width: 768,
    layers: 12,
    feedForwardWidth: 2048,
    heads: 12,
    keyValueHeads: 4,
    vocabularySize: 8192,
    batch: 1,
    tokens: 512,
  },
  // Four layers of the paper's 2.7B models (Table 6), with a small vocabulary.
  'paper-slice': {
    width: 3072,
    layers: 4,
    feedForwardWidth: 8192,
    heads: 24,
    keyValueHeads: 1,
    vocabularySize: 4096,
    batch: 1,
    tokens: 256,
  },
  // The same with batches and vocabularies that fill a GPU.
  'gpu-small': {
    width: 768,
    layers: 12,
    feedForwardWidth: 2048,
    heads: 12,
    keyValueHeads: 4,
    vocabularySize: 8192,
    batch: 16,
    tokens: 512,
  },
  'gpu-slice': {
    width: 3072,
    layers: 4,
    feedForwardWidth: 8192,
    heads: 24,
    keyValueHeads: 1,
    vocabularySize: 32_000,
    batch: 4,
    tokens: 2048,
  },
  // All twenty layers of the paper's models: 11 billion parameters.
  'gpu-paper': {
    width: 3072,
    layers: 20,
    feedForwardWidth: 8192,
    heads: 24,
    keyValueHeads: 1,
    vocabularySize: 32_000,
    batch: 1,
    tokens: 4096,
  },
} as const satisfies Record<string, Size>;

export type SizeName = keyof typeof SIZES;

/** Those that are compared where none is named, on a CPU and on a GPU. */
export const CPU_SIZES: readonly SizeName[] = ['tiny', 'small', 'paper-slice'];
export const GPU_SIZES: readonly SizeName[] = ['small', 'gpu-small', 'paper-slice', 'gpu-slice', 'gpu-paper'];

export const EXPERTS = 3;
export const STITCHES = 4;

export function configOf({ batch: _, tokens: __, ...shape }: Size, dtype: ModelConfig['dtype']): ModelConfig {
  return llamaConfig({ ...shape, maxPositions: 16_384, theta: 500_000, dtype });
}
