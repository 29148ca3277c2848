import type { ModelConfig } from '../model-config.js';

/** What a weight of a layer is for. */
export type LayerRole =
  | 'attentionNorm'
  | 'query'
  | 'queryBias'
  | 'key'
  | 'keyBias'
  | 'value'
  | 'valueBias'
  | 'output'
  | 'outputBias'
  | 'queryNorm'
  | 'keyNorm'
  | 'attentionOutputNorm'
  | 'feedForwardNorm'
  | 'gate'
  | 'gateBias'
  | 'up'
  | 'upBias'
  | 'down'
  | 'downBias'
  | 'feedForwardOutputNorm';

/** What a weight of a model is for. */
export type Role = 'embedding' | 'finalNorm' | 'head' | LayerRole;

/** A tensor of a checkpoint and what it holds: one weight of the model, or several, the rows of one behind those of the other. */
export interface StoredWeight {
  /** In a layer without what all names in layers begin with. */
  readonly name: string;
  /** Rows and columns, or one length. */
  readonly shape: readonly number[];
  /** In the order of their rows. */
  readonly parts: readonly Part[];
}

/** A weight within a stored tensor. */
export interface Part {
  /** What it is for. */
  readonly role: Role;
  /** How many of the leading dimension are its own. */
  readonly rows: number;
}

/** A tensor that holds one weight. */
export function weight(role: Role, name: string, shape: readonly number[]): StoredWeight {
  return { name, shape, parts: [{ role, rows: shape[0]! }] };
}

/** A tensor of `width` columns that holds several weights. */
export function fused(name: string, parts: readonly Part[], width: number): StoredWeight {
  return { name, shape: [parts.reduce((sum, { rows }) => sum + rows, 0), width], parts };
}

/** The weight of a norm over the hidden states. */
export const norm = (role: Role, name: string, { width }: ModelConfig) => weight(role, `${name}.weight`, [width]);

/**
 * The attention of most families: linear weights are [out, in], with H query heads and K key/value heads of width D. Biases
 * and norms of queries and keys are there as far as the configuration has them.
 */
export function attentionWeights({ width: C, attention }: ModelConfig): StoredWeight[] {
  const { heads: H, keyValueHeads: K, headWidth: D, bias, outputBias, queryKeyNorm } = attention;
  const all = [
    ...linear('query', 'self_attn.q_proj', [H * D, C], bias),
    ...linear('key', 'self_attn.k_proj', [K * D, C], bias),
    ...linear('value', 'self_attn.v_proj', [K * D, C], bias),
    ...linear('output', 'self_attn.o_proj', [C, H * D], outputBias),
  ];
  if (queryKeyNorm === 'none') return all;
  const heads = queryKeyNorm === 'head' ? [1, 1] : [H, K];
  return [
    ...all,
    weight('queryNorm', 'self_attn.q_norm.weight', [heads[0]! * D]),
    weight('keyNorm', 'self_attn.k_norm.weight', [heads[1]! * D]),
  ];
}

/** The feed-forward part of most families. */
export function feedForwardWeights({ width: C, feedForward: { width: F, bias } }: ModelConfig): StoredWeight[] {
  return [
    ...linear('gate', 'mlp.gate_proj', [F, C], bias),
    ...linear('up', 'mlp.up_proj', [F, C], bias),
    ...linear('down', 'mlp.down_proj', [C, F], bias),
  ];
}

type Linear = 'query' | 'key' | 'value' | 'output' | 'gate' | 'up' | 'down';

function linear(role: Linear, name: string, shape: readonly number[], bias: boolean): StoredWeight[] {
  const matrix = weight(role, `${name}.weight`, shape);
  return bias ? [matrix, weight(`${role}Bias`, `${name}.bias`, [shape[0]!])] : [matrix];
}

/** A layer whose two parts read normalized hidden states, as Llama's do. */
export function preNormLayer(config: ModelConfig): StoredWeight[] {
  return [
    norm('attentionNorm', 'input_layernorm', config),
    ...attentionWeights(config),
    norm('feedForwardNorm', 'post_attention_layernorm', config),
    ...feedForwardWeights(config),
  ];
}
