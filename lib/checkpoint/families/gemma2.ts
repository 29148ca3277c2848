import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import type { ModelConfig } from '../model-config.js';
import { type Decoder, decoderToJson, readAttentionBias, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family, Json } from './family.js';
import { Flag, Softcap } from './keys.js';
import { attentionWeights, feedForwardWeights, norm, type StoredWeight } from './weights.js';
import { layerTypes, readWindow } from './windows.js';

export const GEMMA_DEFAULTS = {
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  hidden_activation: 'gelu_pytorch_tanh',
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  bos_token_id: 2,
  eos_token_id: 1,
};

const Keys = z.object({
  query_pre_attn_scalar: z.number().positive().max(1e9),
  use_bidirectional_attention: Flag.refine((both) => !both, 'attention that looks ahead is not supported'),
});

/**
 * What Gemma 2 and 3 share: norms whose weights count from one, before and behind each part of a layer; embeddings that are
 * multiplied by the root of their width; scores scaled by a number of their own.
 */
export function readGemma(given: Json, fail: Fail): Decoder {
  const decoder = readDecoder({ ...given, hidden_act: given.hidden_activation }, fail);
  const { query_pre_attn_scalar: scalar } = check(Keys, given, fail);
  return {
    ...decoder,
    attention: { ...decoder.attention, ...readAttentionBias(given, fail), scale: 1 / Math.sqrt(scalar) },
    norm: { ...decoder.norm, offset: 1, place: 'both' },
    embedding: { ...decoder.embedding, scale: Math.sqrt(decoder.width) },
  };
}

export function gemmaToJson(config: ModelConfig): Json {
  const { attention, logitSoftcap } = config;
  return {
    ...decoderToJson(config, 'hidden_activation'),
    attention_bias: attention.bias,
    query_pre_attn_scalar: roundTrip(attention.scale),
    attn_logit_softcapping: attention.softcap,
    final_logit_softcapping: logitSoftcap,
    sliding_window: attention.window?.tokens ?? null,
    layer_types: layerTypes(config),
  };
}

/** The number whose root's inverse this is, without the noise of taking both. */
function roundTrip(scale: number): number {
  const scalar = 1 / scale ** 2;
  const whole = Math.round(scalar);
  return 1 / Math.sqrt(whole) === scale ? whole : scalar;
}

export function gemmaLayer(config: ModelConfig): StoredWeight[] {
  return [
    norm('attentionNorm', 'input_layernorm', config),
    ...attentionWeights(config),
    norm('attentionOutputNorm', 'post_attention_layernorm', config),
    norm('feedForwardNorm', 'pre_feedforward_layernorm', config),
    ...feedForwardWeights(config),
    norm('feedForwardOutputNorm', 'post_feedforward_layernorm', config),
  ];
}

/** Gemma 2: scores and logits have soft caps, and every other layer a window, from the first on. */
export const gemma2: Family = {
  type: 'gemma2',
  architecture: 'Gemma2ForCausalLM',
  read(json, fail) {
    const given = {
      ...GEMMA_DEFAULTS,
      vocab_size: 256000,
      max_position_embeddings: 8192,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
      ...json,
    };
    const decoder = readGemma(given, fail);
    const caps = check(z.object({ attn_logit_softcapping: Softcap, final_logit_softcapping: Softcap }), given, fail);
    const window = readWindow(given, decoder.layers, fail, (index) => index % 2 === 0);
    return {
      ...decoder,
      family: 'gemma2',
      attention: { ...decoder.attention, softcap: caps.attn_logit_softcapping, window },
      logitSoftcap: caps.final_logit_softcapping,
      rope: readRope(given, decoder, fail),
    };
  },
  write: (config) => ({ ...gemmaToJson(config), ...ropeKeys(config) }),
  layer: gemmaLayer,
};
