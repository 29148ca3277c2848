import { type ModelConfig, ropeEverywhere } from '../model-config.js';

/** What tells one plain Llama from another. */
export interface LlamaShape {
  vocabularySize: number;
  width: number;
  layers: number;
  feedForwardWidth: number;
  heads: number;
  keyValueHeads: number;
  maxPositions: number;
  /** Default 10,000. */
  theta?: number;
  bosToken?: number | null;
  eosTokens?: readonly number[];
  /** Default F32. */
  dtype?: ModelConfig['dtype'];
}

/** A plain Llama of this shape, untied and without biases. */
export function llamaConfig(shape: LlamaShape): ModelConfig {
  const { vocabularySize, width, layers, feedForwardWidth, heads, keyValueHeads, maxPositions } = shape;
  const headWidth = width / heads;
  return {
    family: 'llama',
    vocabularySize,
    width,
    layers,
    maxPositions,
    attention: {
      heads,
      keyValueHeads,
      headWidth,
      bias: false,
      outputBias: false,
      queryKeyNorm: 'none',
      scale: 1 / Math.sqrt(headWidth),
      softcap: null,
      window: null,
    },
    feedForward: { width: feedForwardWidth, activation: 'silu', bias: false },
    norm: { epsilon: 1e-5, offset: 0, place: 'before' },
    rope: ropeEverywhere({ kind: 'default', theta: shape.theta ?? 10_000 }, headWidth),
    embedding: { tied: false, scale: 1 },
    logitSoftcap: null,
    bosToken: shape.bosToken ?? null,
    eosTokens: shape.eosTokens ?? [],
    dtype: shape.dtype ?? 'F32',
  };
}
