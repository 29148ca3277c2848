import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import { type ModelConfig, type RopeConfig, ropeEverywhere } from '../model-config.js';
import { attentionFactor, parseRope, type Rope, ropeParameters, scalingToJson } from '../rope-config.js';
import { type Decoder, decoderToJson, readDecoder } from './decoder.js';
import type { Family, Json } from './family.js';
import { fused, norm, weight } from './weights.js';
import { readUniformWindow } from './windows.js';

const DEFAULTS = {
  vocab_size: 32064,
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  hidden_act: 'silu',
  max_position_embeddings: 4096,
  original_max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 32000,
};

/** Phi 3 and 4: Llama whose matrices that read the same are stored as one; heads may be rotated in part, and far. */
export const phi3: Family = {
  type: 'phi3',
  architecture: 'Phi3ForCausalLM',
  read(json, fail) {
    const given = { ...DEFAULTS, ...json };
    const decoder = readDecoder(given, fail);
    const window = readUniformWindow(given, decoder.layers, fail);
    return {
      ...decoder,
      family: 'phi3',
      attention: { ...decoder.attention, window },
      rope: readPhiRope(given, decoder, fail),
    };
  },
  write: (config) => ({
    ...decoderToJson(config),
    sliding_window: config.attention.window?.tokens ?? null,
    ...phiRopeToJson(config),
  }),
  layer: (config) => {
    const { width: C, attention, feedForward } = config;
    const { heads: H, keyValueHeads: K, headWidth: D } = attention;
    const { width: F } = feedForward;
    const projections = [
      { role: 'query', rows: H * D },
      { role: 'key', rows: K * D },
      { role: 'value', rows: K * D },
    ] as const;
    const gated = [
      { role: 'gate', rows: F },
      { role: 'up', rows: F },
    ] as const;
    return [
      norm('attentionNorm', 'input_layernorm', config),
      fused('self_attn.qkv_proj.weight', projections, C),
      weight('output', 'self_attn.o_proj.weight', [C, H * D]),
      norm('feedForwardNorm', 'post_attention_layernorm', config),
      fused('mlp.gate_up_proj.weight', gated, C),
      weight('down', 'mlp.down_proj.weight', [C, F]),
    ];
  },
};

function readPhiRope(given: Json, { maxPositions, attention: { headWidth } }: Decoder, fail: Fail): RopeConfig {
  const parameters = ropeParameters(given, fail);
  const { partial_rotary_factor: factor } = check(
    z.object({
      partial_rotary_factor: z
        .number()
        .positive()
        .max(1)
        .nullish()
        .transform((factor) => factor ?? 1),
    }),
    parameters,
    fail,
  );
  const width = Math.trunc(headWidth * factor);
  if (width < 1) throw fail(`partial_rotary_factor ${factor} leaves nothing of heads of ${headWidth} to be rotated`);
  // What it was first called.
  const type = parameters.rope_type ?? parameters.type;
  const renamed = type === 'su' || type === 'yarn' ? { ...parameters, rope_type: 'longrope' } : parameters;
  const rope = parseRope(renamed, { maxPositions, theta: 10_000, kinds: ['default', 'longrope'], fail });
  if (rope.kind === 'longrope') expectFactors(rope, width, fail);
  return ropeEverywhere(rope, width);
}

function expectFactors({ shortFactors, longFactors }: Extract<Rope, { kind: 'longrope' }>, width: number, fail: Fail) {
  const pairs = width / 2;
  if (shortFactors.length === pairs && longFactors.length === pairs) return;
  throw fail(
    `short_factor and long_factor must have ${pairs} entries each, one for a pair of rotated channels; ` +
      `they have ${shortFactors.length} and ${longFactors.length}`,
  );
}

function phiRopeToJson({ rope: { global, width }, attention, maxPositions }: ModelConfig): Json {
  const original = global.kind === 'longrope' ? global.originalMaxPositions : DEFAULTS.original_max_position_embeddings;
  const partial = { partial_rotary_factor: width / attention.headWidth };
  const scaling = scalingToJson(global);
  // Mostly it follows from the lengths, and transformers 4 takes three keys and no more.
  const derived = attentionFactor(maxPositions / original, original);
  const special = global.kind === 'longrope' && global.attentionFactor !== derived;
  const all = scaling && special ? { ...scaling, attention_factor: global.attentionFactor } : scaling;
  return {
    original_max_position_embeddings: original,
    ...partial,
    rope_theta: global.theta,
    rope_scaling: all,
    rope_parameters: {
      rope_type: global.kind,
      rope_theta: global.theta,
      ...all,
      ...partial,
      ...(all && { original_max_position_embeddings: original }),
    },
  };
}
