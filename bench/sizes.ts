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
} as const satisfies Record<string, Size>;

export type SizeName = keyof typeof SIZES;

export const EXPERTS = 3;
export const STITCHES = 4;

export function configOf({ batch: _, tokens: __, ...shape }: Size, dtype: ModelConfig['dtype']): ModelConfig {
  return llamaConfig({ ...shape, maxPositions: 16_384, theta: 500_000, dtype });
}
