import { decoderToJson, readAttentionBias, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family } from './family.js';
import { QWEN_DEFAULTS, qwenWindowToJson, readQwenWindow } from './qwen2.js';
import { preNormLayer } from './weights.js';

/** Qwen 3: heads of queries and keys are normalized, and their width is 128 whatever the model's. */
export const qwen3: Family = {
  type: 'qwen3',
  architecture: 'Qwen3ForCausalLM',
  read(json, fail) {
    const given = { ...QWEN_DEFAULTS, head_dim: 128, ...json };
    const decoder = readDecoder(given, fail);
    const window = readQwenWindow(given, decoder.layers, fail);
    return {
      ...decoder,
      family: 'qwen3',
      attention: { ...decoder.attention, ...readAttentionBias(given, fail), queryKeyNorm: 'head', window },
      rope: readRope(given, decoder, fail),
    };
  },
  write: (config) => ({
    ...decoderToJson(config),
    attention_bias: config.attention.bias,
    ...qwenWindowToJson(config),
    ...ropeKeys(config),
  }),
  layer: preNormLayer,
};
