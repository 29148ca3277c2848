import type { Packing } from './packed/scheme.js';
import type { Rope } from './rope-config.js';

/** What the transformer needs to know of a dense checkpoint. */
export interface ModelConfig {
  /** `model_type` in config.json. */
  readonly family: string;
  /** V, rows of the embedding. */
  readonly vocabularySize: number;
  /** C, of hidden states. */
  readonly width: number;
  /** L, decoder layers. */
  readonly layers: number;
  /** The longest sequence, in tokens. */
  readonly maxPositions: number;
  /** Heads and how they attend. */
  readonly attention: AttentionConfig;
  /** The gated layer behind attention. */
  readonly feedForward: FeedForwardConfig;
  /** Where RMS norms stand, and what they add. */
  readonly norm: NormConfig;
  /** Positions as angles. */
  readonly rope: RopeConfig;
  /** The embedding, and the head. */
  readonly embedding: EmbeddingConfig;
  /** Logits x become `c tanh(x / c)`; null: they stay as they are. */
  readonly logitSoftcap: number | null;
  /** Stands before every text where the tokenizer says so; null: none. */
  readonly bosToken: number | null;
  /** Generation stops at any of these. */
  readonly eosTokens: readonly number[];
  /** The precision the checkpoint says it was saved in; each tensor has its own dtype, which decides. */
  readonly dtype: 'F32' | 'F16' | 'BF16';
  /** How its matrices were quantized by others; absent: they are floats. */
  readonly packing?: Packing;
}

/** The shape of attention. */
export interface AttentionConfig {
  /** H, query heads. */
  readonly heads: number;
  /** Key and value heads, a divisor of `heads`. */
  readonly keyValueHeads: number;
  /** D, channels of a head. */
  readonly headWidth: number;
  /** Query, key and value have biases. */
  readonly bias: boolean;
  /** So has the output projection. */
  readonly outputBias: boolean;
  /** Queries and keys are normalized before they are rotated: each head by itself, or all of a projection together. */
  readonly queryKeyNorm: 'none' | 'head' | 'projection';
  /** Scores are multiplied by this: mostly `1 / sqrt(headWidth)`. */
  readonly scale: number;
  /** Scores x, multiplied already, become `c tanh(x / c)`; null: they stay as they are. */
  readonly softcap: number | null;
  /** null: every layer attends to all tokens before. */
  readonly window: Window | null;
}

/** In some layers a token sees itself and the `tokens - 1` before it; in the others all before it. */
export interface Window {
  /** How many tokens, its own among them, a token attends to. */
  readonly tokens: number;
  /** From 0, rising, at least one. */
  readonly layers: readonly number[];
}

/** The shape of the feed-forward layer. */
export interface FeedForwardConfig {
  /** F, channels inside. */
  readonly width: number;
  /** Of the gate. `geluTanh` is GELU by way of tanh. */
  readonly activation: 'silu' | 'gelu' | 'geluTanh';
  /** Gate, up and down have biases. */
  readonly bias: boolean;
}

/** RMS norms. */
export interface NormConfig {
  /** Is added to the mean square. */
  readonly epsilon: number;
  /** What a channel is multiplied with is its weight, or one more. */
  readonly offset: 0 | 1;
  /** What attention and the feed-forward part read is normalized, or what they give before it is added, or both. */
  readonly place: 'before' | 'after' | 'both';
}

/** Rotary positions, of all layers and of those with a window. */
export interface RopeConfig {
  /** Channels of a head that are rotated, from the first on; odd numbers are rounded up. */
  readonly width: number;
  /** Of layers without a window. */
  readonly global: Rope;
  /** Of layers with a window. */
  readonly local: Rope;
  /** Layers in which nothing is rotated, from 0, rising. */
  readonly skipped: readonly number[];
}

/** The embedding, and whether the head is the same weight. */
export interface EmbeddingConfig {
  /** The embedding is the head too: there is no `lm_head.weight`. */
  readonly tied: boolean;
  /** Rows of the table are multiplied by this, rounded to the precision of activations. */
  readonly scale: number;
}

/** How many tokens a token of layer `index` sees, itself included; null: all before it. */
export function windowOf({ attention: { window } }: ModelConfig, index: number): number | null {
  return window?.layers.includes(index) ? window.tokens : null;
}

/** How queries and keys of layer `index` are rotated; null: not at all. */
export function ropeOf(config: ModelConfig, index: number): Rope | null {
  const { global, local, skipped } = config.rope;
  if (skipped.includes(index)) return null;
  return windowOf(config, index) === null ? global : local;
}

/** The same rotation in all layers. */
export const ropeEverywhere = (rope: Rope, width: number): RopeConfig => ({
  width,
  global: rope,
  local: rope,
  skipped: [],
});

/** A window over `tokens` in all layers, or none. */
export const windowEverywhere = (tokens: number | null, layers: number): Window | null =>
  tokens === null ? null : { tokens, layers: Array.from({ length: layers }, (_, index) => index) };
