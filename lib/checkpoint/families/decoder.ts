/** What all families have in common: config.json's keys for the shape of a decoder. */
import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import { type ModelConfig, ropeEverywhere } from '../model-config.js';
import { parseRope, ropeParameters, ropeToJson } from '../rope-config.js';
import type { Json } from './family.js';
import { Activation, activationToJson, count, Dtype, dtypeToJson, EosTokens, Flag, MAX_INT32, Token } from './keys.js';

const Keys = z.object({
  vocab_size: count(1 << 24),
  hidden_size: count(1 << 20),
  intermediate_size: count(1 << 22),
  num_hidden_layers: count(4096),
  num_attention_heads: count(1 << 14),
  num_key_value_heads: count(1 << 14).nullish(),
  head_dim: count(1 << 14).nullish(),
  hidden_act: Activation,
  max_position_embeddings: count(MAX_INT32),
  rms_norm_eps: z.number().positive().max(1),
  tie_word_embeddings: Flag,
  bos_token_id: Token.nullish(),
  eos_token_id: EosTokens,
  torch_dtype: Dtype,
  dtype: Dtype,
});

/** A configuration that no family has been given yet, and in which nothing is said of positions. */
export type Decoder = Omit<ModelConfig, 'family' | 'rope'>;

/** Reads the keys that all families share, defaults included in `given`: a decoder as Llama's, without biases or windows. */
export function readDecoder(given: Json, fail: Fail): Decoder {
  const keys = check(Keys, given, fail);
  const heads = keys.num_attention_heads;
  const keyValueHeads = keys.num_key_value_heads ?? heads;
  if (heads % keyValueHeads !== 0) {
    throw fail(`num_attention_heads ${heads} is no multiple of num_key_value_heads ${keyValueHeads}`);
  }
  const headWidth = keys.head_dim ?? keys.hidden_size / heads;
  if (!Number.isInteger(headWidth)) {
    throw fail(`hidden_size ${keys.hidden_size} is no multiple of num_attention_heads ${heads}`);
  }
  if (headWidth % 2 !== 0) throw fail(`rotary embeddings need an even head width, got ${headWidth}`);
  return {
    vocabularySize: keys.vocab_size,
    width: keys.hidden_size,
    layers: keys.num_hidden_layers,
    maxPositions: keys.max_position_embeddings,
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
    feedForward: { width: keys.intermediate_size, activation: keys.hidden_act, bias: false },
    norm: { epsilon: keys.rms_norm_eps, offset: 0, place: 'before' },
    embedding: { tied: keys.tie_word_embeddings, scale: 1 },
    logitSoftcap: null,
    bosToken: keys.bos_token_id ?? null,
    eosTokens: keys.eos_token_id,
    dtype: keys.dtype ?? keys.torch_dtype ?? 'F32',
  };
}

/** The keys that all families share; `activationKey` is what the family calls that of its activation. */
export function decoderToJson(config: ModelConfig, activationKey = 'hidden_act'): Json {
  const { attention, feedForward, eosTokens } = config;
  return {
    vocab_size: config.vocabularySize,
    hidden_size: config.width,
    intermediate_size: feedForward.width,
    num_hidden_layers: config.layers,
    num_attention_heads: attention.heads,
    num_key_value_heads: attention.keyValueHeads,
    head_dim: attention.headWidth,
    [activationKey]: activationToJson(feedForward.activation),
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.norm.epsilon,
    tie_word_embeddings: config.embedding.tied,
    bos_token_id: config.bosToken,
    eos_token_id: eosTokens.length > 1 ? eosTokens : (eosTokens[0] ?? null),
    ...dtypeToJson(config.dtype),
  };
}

/** Heads rotated whole, and in all layers alike. `theta` is what transformers assumes where none is given. */
export function readRope(given: Json, decoder: Decoder, fail: Fail, theta = 10_000): ModelConfig['rope'] {
  const rope = parseRope(wholeHeads(given, fail), { maxPositions: decoder.maxPositions, theta, fail });
  return ropeEverywhere(rope, decoder.attention.headWidth);
}

/** The rope keys of a family whose heads are rotated whole. */
export function wholeHeads(json: Json, fail: Fail): Json {
  const parameters = ropeParameters(json, fail);
  if ((parameters.partial_rotary_factor ?? 1) === 1) return parameters;
  throw fail('partial_rotary_factor: heads that are rotated in part are not supported in this family');
}

export const ropeKeys = ({ rope }: ModelConfig) => ropeToJson(rope.global);

/** `attention_bias`, which gives all four projections one. */
export function readAttentionBias(given: Json, fail: Fail): { bias: boolean; outputBias: boolean } {
  const { attention_bias: bias } = check(z.object({ attention_bias: Flag }), given, fail);
  return { bias, outputBias: bias };
}
