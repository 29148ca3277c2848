import { decoderToJson, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family } from './family.js';
import { preNormLayer } from './weights.js';
import { readUniformWindow } from './windows.js';

const DEFAULTS = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  hidden_act: 'silu',
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-6,
  sliding_window: 4096,
  bos_token_id: 1,
  eos_token_id: 2,
};

/** Mistral 7B and its successors: Llama with a window over all layers, or none, and never a bias. */
export const mistral: Family = {
  type: 'mistral',
  architecture: 'MistralForCausalLM',
  read(json, fail) {
    const given = { ...DEFAULTS, ...json };
    const decoder = readDecoder(given, fail);
    const window = readUniformWindow(given, decoder.layers, fail);
    return {
      ...decoder,
      family: 'mistral',
      attention: { ...decoder.attention, window },
      rope: readRope(given, decoder, fail),
    };
  },
  write: (config) => ({
    ...decoderToJson(config),
    sliding_window: config.attention.window?.tokens ?? null,
    ...ropeKeys(config),
  }),
  layer: preNormLayer,
};
