import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import type { ModelConfig, RopeConfig } from '../model-config.js';
import { parameters, parseRope, type Rope, scalingToJson } from '../rope-config.js';
import { type Decoder, wholeHeads } from './decoder.js';
import type { Family, Json } from './family.js';
import { GEMMA_DEFAULTS, gemmaLayer, gemmaToJson, readGemma } from './gemma2.js';
import { count, Softcap } from './keys.js';
import { readWindow } from './windows.js';

const Keys = z.object({
  final_logit_softcapping: Softcap,
  // Every so many layers, one sees everything.
  sliding_window_pattern: count(4096)
    .nullish()
    .transform((period) => period ?? 6),
});

/**
 * Gemma 3 without its eyes: heads of queries and keys are normalized, and layers with a window have a rotary base of their
 * own. It has a key for a soft cap on scores, but no use for it.
 */
export const gemma3: Family = {
  type: 'gemma3_text',
  architecture: 'Gemma3ForCausalLM',
  read(json, fail) {
    const given = {
      ...GEMMA_DEFAULTS,
      vocab_size: 262208,
      max_position_embeddings: 131072,
      final_logit_softcapping: null,
      ...json,
    };
    const decoder = readGemma(given, fail);
    const { final_logit_softcapping: logitSoftcap, sliding_window_pattern: period } = check(Keys, given, fail);
    const window = readWindow(given, decoder.layers, fail, (index) => (index + 1) % period !== 0);
    return {
      ...decoder,
      family: 'gemma3_text',
      attention: { ...decoder.attention, queryKeyNorm: 'head', window },
      logitSoftcap,
      rope: readRopes(given, decoder, fail),
    };
  },
  write: (config) => ({ ...gemmaToJson(config), ...ropesToJson(config) }),
  layer: gemmaLayer,
};

/** The rotations of the two kinds of layers: `rope_parameters` by kind, or the older keys, `rope_scaling` being the global one's. */
function readRopes(given: Json, { maxPositions, attention }: Decoder, fail: Fail): RopeConfig {
  const kinds = parameters(given.rope_parameters, fail) ?? {};
  const stray = Object.keys(kinds).find((key) => key !== 'full_attention' && key !== 'sliding_attention');
  if (stray)
    throw fail(`rope_parameters must be given by kind of layer, full_attention and sliding_attention, not ${stray}`);
  const full = { ...parameters(kinds.full_attention, fail), ...parameters(given.rope_scaling, fail) };
  const sliding = parameters(kinds.sliding_attention, fail) ?? {};
  const partial = { partial_rotary_factor: given.partial_rotary_factor };
  const read = (rope_parameters: Json, rope_theta: unknown, theta: number): Rope =>
    parseRope(wholeHeads({ ...partial, rope_parameters, rope_theta }, fail), { maxPositions, theta, fail });
  return {
    width: attention.headWidth,
    global: read(full, given.rope_theta, 1e6),
    local: read(sliding, given.rope_local_base_freq, 1e4),
    skipped: [],
  };
}

function ropesToJson({ rope: { global, local } }: ModelConfig): Json {
  const parameters = (rope: Rope) => ({ rope_type: 'default', rope_theta: rope.theta, ...scalingToJson(rope) });
  return {
    rope_theta: global.theta,
    rope_local_base_freq: local.theta,
    rope_scaling: scalingToJson(global),
    rope_parameters: { full_attention: parameters(global), sliding_attention: parameters(local) },
  };
}
