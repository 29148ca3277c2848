import { decoderToJson, readAttentionBias, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family } from './family.js';
import { attentionWeights, feedForwardWeights, norm } from './weights.js';
import { expectNoWindow } from './windows.js';

const DEFAULTS = {
  vocab_size: 50304,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  hidden_act: 'silu',
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  bos_token_id: null,
  eos_token_id: 50279,
};

/** OLMo 2: norms stand behind the parts of a layer, and queries and keys are normalized over all heads together. */
export const olmo2: Family = {
  type: 'olmo2',
  architecture: 'Olmo2ForCausalLM',
  read(json, fail) {
    const given = { ...DEFAULTS, ...json };
    const decoder = readDecoder(given, fail);
    expectNoWindow(given, decoder.layers, fail);
    return {
      ...decoder,
      family: 'olmo2',
      attention: { ...decoder.attention, ...readAttentionBias(given, fail), queryKeyNorm: 'projection' },
      norm: { ...decoder.norm, place: 'after' },
      rope: readRope(given, decoder, fail),
    };
  },
  write: (config) => ({ ...decoderToJson(config), attention_bias: config.attention.bias, ...ropeKeys(config) }),
  layer: (config) => [
    ...attentionWeights(config),
    norm('attentionOutputNorm', 'post_attention_layernorm', config),
    ...feedForwardWeights(config),
    norm('feedForwardOutputNorm', 'post_feedforward_layernorm', config),
  ],
};
