import { z } from 'zod';
import { check } from '../../base/check.js';
import { type ModelConfig, ropeEverywhere } from '../model-config.js';
import { decoderToJson, readAttentionBias, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family } from './family.js';
import { Flag } from './keys.js';
import { preNormLayer } from './weights.js';
import { expectNoWindow } from './windows.js';

const DEFAULTS = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  hidden_act: 'silu',
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  bos_token_id: 1,
  eos_token_id: 2,
};

/** Llama 1 to 3, and what goes by its name. */
export const llama: Family = {
  type: 'llama',
  architecture: 'LlamaForCausalLM',
  read(json, fail) {
    const given = { ...DEFAULTS, ...json };
    const decoder = readDecoder(given, fail);
    expectNoWindow(given, decoder.layers, fail);
    const { mlp_bias: bias } = check(z.object({ mlp_bias: Flag }), given, fail);
    return {
      ...decoder,
      family: 'llama',
      attention: { ...decoder.attention, ...readAttentionBias(given, fail) },
      feedForward: { ...decoder.feedForward, bias },
      rope: readRope(given, decoder, fail),
    };
  },
  write: (config) => ({
    ...decoderToJson(config),
    attention_bias: config.attention.bias,
    mlp_bias: config.feedForward.bias,
    ...ropeKeys(config),
  }),
  layer: preNormLayer,
};

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
