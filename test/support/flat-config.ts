import { type ModelConfig, ropeEverywhere, windowEverywhere } from '../../lib/checkpoint/model-config.js';
import type { Rope } from '../../lib/checkpoint/rope-config.js';

/** What tells the models of one kind of layer apart, in one list: tests name one thing, and the rest follows from it. */
export interface FlatConfig {
  family: string;
  vocabularySize: number;
  width: number;
  layers: number;
  feedForwardWidth: number;
  heads: number;
  keyValueHeads: number;
  headWidth: number;
  normEpsilon: number;
  tiedEmbeddings: boolean;
  attentionBias: boolean;
  outputBias: boolean;
  feedForwardBias: boolean;
  headNorms: boolean;
  maxPositions: number;
  slidingWindow: number | null;
  rope: Rope;
  bosToken: number | null;
  eosTokens: readonly number[];
  dtype: ModelConfig['dtype'];
}

/** A configuration as the list of what it says, which must be all that it says. */
export function flat(config: ModelConfig): FlatConfig {
  const { attention, feedForward, norm, rope, embedding, logitSoftcap: _, ...rest } = config;
  return {
    ...rest,
    feedForwardWidth: feedForward.width,
    heads: attention.heads,
    keyValueHeads: attention.keyValueHeads,
    headWidth: attention.headWidth,
    normEpsilon: norm.epsilon,
    tiedEmbeddings: embedding.tied,
    attentionBias: attention.bias,
    outputBias: attention.outputBias,
    feedForwardBias: feedForward.bias,
    headNorms: attention.queryKeyNorm === 'head',
    slidingWindow: attention.window?.tokens ?? null,
    rope: rope.global,
  };
}

/** The configuration with some of it changed. */
export function varied(config: ModelConfig, changes: Partial<FlatConfig>): ModelConfig {
  const all = { ...flat(config), ...changes };
  const { family, vocabularySize, width, layers, maxPositions, bosToken, eosTokens, dtype } = all;
  return {
    family,
    vocabularySize,
    width,
    layers,
    maxPositions,
    attention: {
      heads: all.heads,
      keyValueHeads: all.keyValueHeads,
      headWidth: all.headWidth,
      bias: all.attentionBias,
      outputBias: all.outputBias,
      queryKeyNorm: all.headNorms ? 'head' : 'none',
      scale: 1 / Math.sqrt(all.headWidth),
      softcap: null,
      window: windowEverywhere(all.slidingWindow, layers),
    },
    feedForward: { width: all.feedForwardWidth, activation: 'silu', bias: all.feedForwardBias },
    norm: { epsilon: all.normEpsilon, offset: 0, place: 'before' },
    rope: ropeEverywhere(all.rope, all.headWidth),
    embedding: { tied: all.tiedEmbeddings, scale: 1 },
    logitSoftcap: null,
    bosToken,
    eosTokens,
    dtype,
  };
}
