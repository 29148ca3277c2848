import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import { decoderToJson, readAttentionBias, readDecoder, readRope, ropeKeys } from './decoder.js';
import type { Family, Json } from './family.js';
import { count, Flag } from './keys.js';
import { preNormLayer } from './weights.js';
import { layerTypes, readWindow } from './windows.js';

const DEFAULTS = {
  vocab_size: 128256,
  hidden_size: 2048,
  intermediate_size: 11008,
  num_hidden_layers: 36,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  hidden_act: 'silu',
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  sliding_window: null,
  bos_token_id: 128000,
  eos_token_id: 128001,
};

const Keys = z.object({
  mlp_bias: Flag,
  use_sliding_window: Flag,
  no_rope_layers: z.array(z.union([z.literal(0), z.literal(1)])).nullish(),
  no_rope_layer_interval: count(4096)
    .nullish()
    .transform((interval) => interval ?? 4),
});

/** SmolLM 3: every so many layers, one does without rotation. */
export const smollm3: Family = {
  type: 'smollm3',
  architecture: 'SmolLM3ForCausalLM',
  read(json, fail) {
    const given = { ...DEFAULTS, ...json };
    const decoder = readDecoder(given, fail);
    const keys = check(Keys, given, fail);
    const skipped = layersWithoutRope(keys, decoder.layers, fail);
    const switched: Json = keys.use_sliding_window ? given : { ...given, sliding_window: null };
    const window = readWindow(
      switched,
      decoder.layers,
      fail,
      (index, tokens) => tokens !== null && skipped.includes(index),
    );
    return {
      ...decoder,
      family: 'smollm3',
      attention: { ...decoder.attention, ...readAttentionBias(given, fail), window },
      feedForward: { ...decoder.feedForward, bias: keys.mlp_bias },
      rope: { ...readRope(given, decoder, fail, 2e6), skipped },
    };
  },
  write: (config) => ({
    ...decoderToJson(config),
    attention_bias: config.attention.bias,
    mlp_bias: config.feedForward.bias,
    use_sliding_window: config.attention.window !== null,
    sliding_window: config.attention.window?.tokens ?? null,
    layer_types: layerTypes(config),
    no_rope_layers: Array.from({ length: config.layers }, (_, index) => (config.rope.skipped.includes(index) ? 0 : 1)),
    ...ropeKeys(config),
  }),
  layer: preNormLayer,
};

/** `no_rope_layers` has a one for each layer that does rotate. */
function layersWithoutRope(keys: z.output<typeof Keys>, layers: number, fail: Fail): number[] {
  const { no_rope_layers: listed, no_rope_layer_interval: interval } = keys;
  if (listed && listed.length < layers) throw fail(`no_rope_layers has ${listed.length} entries for ${layers} layers`);
  return Array.from({ length: layers }, (_, index) => index).filter((index) =>
    listed ? listed[index] === 0 : (index + 1) % interval === 0,
  );
}
