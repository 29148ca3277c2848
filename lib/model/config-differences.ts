import type { ModelConfig } from '../checkpoint/config.js';
import type { Rope } from '../checkpoint/rope-config.js';
import { FREE } from './member.js';

export interface ConfigDifference {
  key: keyof ModelConfig;
  /** Members that differ in this can be stitched all the same. */
  mayDiffer: boolean;
  message: string;
}

type Words = Record<keyof ModelConfig, string>;

const WORDS: Words = {
  family: 'architecture',
  vocabularySize: 'vocabulary size',
  width: 'width',
  layers: 'layers',
  feedForwardWidth: 'feed-forward width',
  heads: 'attention heads',
  keyValueHeads: 'key/value heads',
  headWidth: 'width of a head',
  normEpsilon: 'epsilon of the norms',
  tiedEmbeddings: 'tied embeddings',
  attentionBias: 'biases of query, key and value',
  outputBias: "bias of the attention's output",
  feedForwardBias: 'biases of the feed-forward part',
  headNorms: 'norms of query and key heads',
  maxPositions: 'max positions',
  slidingWindow: 'sliding window',
  rope: 'RoPE',
  bosToken: 'beginning-of-text token',
  eosTokens: 'end-of-text tokens of generation',
  dtype: 'precision of the weights',
};

// What becomes of the fields that may differ.
const CONSEQUENCES: Partial<Words> = {
  tiedEmbeddings: "The stitched model's output weights are the hub's.",
  maxPositions: 'The stitched model takes as many positions as the hub; an expert may not know all of them.',
  rope: 'Each member keeps its own.',
  bosToken: "The hub's is used.",
  eosTokens: "The hub's are used.",
  dtype: 'Each member keeps its own.',
};

/** Everything in which the configuration of the expert `name` differs from its hub's. */
export function configDifferences(hub: ModelConfig, expert: ModelConfig, name: string): ConfigDifference[] {
  const keys = Object.keys(WORDS) as (keyof ModelConfig)[];
  return keys
    .filter((key) => JSON.stringify(expert[key]) !== JSON.stringify(hub[key]))
    .map((key) => {
      const difference = `${WORDS[key]}: ${show(expert, key)} in ${name}, ${show(hub, key)} in the hub.`;
      const message = [difference, CONSEQUENCES[key]].filter(Boolean).join(' ');
      return { key, mayDiffer: FREE.includes(key), message };
    });
}

function show(config: ModelConfig, key: keyof ModelConfig): string {
  const value = config[key];
  // How many share a key is half of what their number means.
  if (key === 'heads') return `${value} over ${config.keyValueHeads} key/value heads`;
  if (value === null) return 'none';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.join(' and ') || 'none';
  if (typeof value !== 'object') return `${value}`;
  return Object.entries(value as Rope)
    .map(([name, part]) => `${name} ${part}`)
    .join(' ');
}
