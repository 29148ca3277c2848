import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import type { ModelConfig, Window } from '../model-config.js';
import { decoderToJson, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family, Json } from './family.js';
import { Flag } from './keys.js';
import { preNormLayer } from './weights.js';
import { layerTypes, readWindow } from './windows.js';

export const QWEN_DEFAULTS = {
  vocab_size: 151936,
  hidden_size: 4096,
  intermediate_size: 22016,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  hidden_act: 'silu',
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  sliding_window: 4096,
};

const WindowKeys = z.object({
  use_sliding_window: Flag,
  max_window_layers: z
    .int()
    .min(0)
    .nullish()
    .transform((first) => first ?? 28),
});

/** A window that has a switch, and that lower layers are spared. */
export function readQwenWindow(given: Json, layers: number, fail: Fail): Window | null {
  const { use_sliding_window: on, max_window_layers: first } = check(WindowKeys, given, fail);
  const switched = on ? given : { ...given, sliding_window: null };
  return readWindow(switched, layers, fail, (index, tokens) => tokens !== null && index >= first);
}

export function qwenWindowToJson(config: ModelConfig): Json {
  const { window } = config.attention;
  const inPart = window !== null && window.layers.length < config.layers;
  return {
    use_sliding_window: window !== null,
    sliding_window: window?.tokens ?? null,
    max_window_layers: window ? window.layers[0]! : config.layers,
    ...(inPart && { layer_types: layerTypes(config) }),
  };
}

/** Qwen 2 and 2.5: query, key and value have biases. */
export const qwen2: Family = {
  type: 'qwen2',
  architecture: 'Qwen2ForCausalLM',
  read(json, fail) {
    const given = { ...QWEN_DEFAULTS, ...json };
    const decoder = readDecoder(given, fail);
    const window = readQwenWindow(given, decoder.layers, fail);
    return {
      ...decoder,
      family: 'qwen2',
      attention: { ...decoder.attention, bias: true, window },
      rope: readRope(given, decoder, fail),
    };
  },
  write: (config) => ({ ...decoderToJson(config), ...qwenWindowToJson(config), ...ropeKeys(config) }),
  layer: preNormLayer,
};
