/** What hub and experts may differ in, and what not: members run in lockstep. */

import { BtsError } from '../../base/errors.js';
import type { ModelConfig, Window } from '../../checkpoint/model-config.js';

interface Field {
  /** What it is called in messages. */
  words: string;
  of: (config: ModelConfig) => unknown;
  /** Members that differ in it can be stitched all the same; what becomes of the difference, as a sentence. */
  mayDiffer?: string | true;
}

// In the order in which differences are told.
const FIELDS = {
  family: { words: 'architecture', of: (c) => c.family, mayDiffer: true },
  vocabularySize: { words: 'vocabulary size', of: (c) => c.vocabularySize },
  width: { words: 'width', of: (c) => c.width },
  layers: { words: 'layers', of: (c) => c.layers },
  feedForwardWidth: { words: 'feed-forward width', of: (c) => c.feedForward.width },
  heads: { words: 'attention heads', of: (c) => c.attention.heads },
  keyValueHeads: { words: 'key/value heads', of: (c) => c.attention.keyValueHeads },
  headWidth: { words: 'width of a head', of: (c) => c.attention.headWidth },
  normEpsilon: { words: 'epsilon of the norms', of: (c) => c.norm.epsilon },
  normOffset: { words: 'offset of the weights of norms', of: (c) => c.norm.offset },
  normPlace: { words: 'place of the norms', of: (c) => c.norm.place },
  tiedEmbeddings: {
    words: 'tied embeddings',
    of: (c) => c.embedding.tied,
    mayDiffer: "The stitched model's output weights are the hub's.",
  },
  embeddingScale: { words: 'scale of the embeddings', of: (c) => c.embedding.scale },
  attentionBias: { words: 'biases of query, key and value', of: (c) => c.attention.bias },
  outputBias: { words: "bias of the attention's output", of: (c) => c.attention.outputBias },
  attentionScale: {
    words: "scale of the attention's scores",
    of: ({ attention: a }) => (a.scale === 1 / Math.sqrt(a.headWidth) ? 'by the width of a head' : a.scale),
  },
  attentionSoftcap: { words: "soft cap of the attention's scores", of: (c) => c.attention.softcap },
  feedForwardBias: { words: 'biases of the feed-forward part', of: (c) => c.feedForward.bias },
  activation: { words: 'activation', of: (c) => c.feedForward.activation },
  headNorms: { words: 'norms of query and key heads', of: (c) => c.attention.queryKeyNorm },
  maxPositions: {
    words: 'max positions',
    of: (c) => c.maxPositions,
    mayDiffer: 'The stitched model takes as many positions as the hub; an expert may not know all of them.',
  },
  slidingWindow: { words: 'sliding window', of: (c) => showWindow(c.attention.window, c.layers) },
  rope: { words: 'RoPE', of: (c) => c.rope.global, mayDiffer: 'Each member keeps its own.' },
  windowedRope: {
    words: 'RoPE of layers with a window',
    of: (c) => (c.attention.window ? c.rope.local : null),
    mayDiffer: 'Each member keeps its own.',
  },
  rotatedWidth: {
    words: 'rotated channels of a head',
    of: (c) => (c.rope.width === c.attention.headWidth ? 'all' : c.rope.width),
  },
  layersWithoutRope: { words: 'layers without RoPE', of: (c) => c.rope.skipped },
  logitSoftcap: { words: 'soft cap of the logits', of: (c) => c.logitSoftcap, mayDiffer: "The hub's is used." },
  bosToken: { words: 'beginning-of-text token', of: (c) => c.bosToken, mayDiffer: "The hub's is used." },
  eosTokens: { words: 'end-of-text tokens of generation', of: (c) => c.eosTokens, mayDiffer: "The hub's are used." },
  dtype: { words: 'precision of the weights', of: (c) => c.dtype, mayDiffer: 'Each member keeps its own.' },
} satisfies Record<string, Field>;

type Key = keyof typeof FIELDS;

export interface ConfigDifference {
  key: Key;
  /** Members that differ in this can be stitched all the same. */
  mayDiffer: boolean;
  message: string;
}

/** Everything in which the configuration of the expert `name` differs from its hub's. */
export function configDifferences(hub: ModelConfig, expert: ModelConfig, name: string): ConfigDifference[] {
  return differing(hub, expert).map(([key, { words, mayDiffer }]) => {
    const difference = `${words}: ${show(expert, key)} in ${name}, ${show(hub, key)} in the hub.`;
    const message = typeof mayDiffer === 'string' ? `${difference} ${mayDiffer}` : difference;
    return { key, mayDiffer: mayDiffer !== undefined, message };
  });
}

/** Throws MEMBERS_DIFFER, naming every difference, unless all configurations can run in lockstep with the first. */
export function expectSameShape(members: readonly { name: string; config: ModelConfig }[]): void {
  const [hub, ...experts] = members;
  const differences = experts.flatMap(({ name, config }) =>
    differing(hub!.config, config)
      .filter(([, { mayDiffer }]) => mayDiffer === undefined)
      .map(([key, { of }]) => `${name} has ${key} ${of(config)}, the hub ${of(hub!.config)}`),
  );
  if (differences.length > 0) {
    throw new BtsError('MEMBERS_DIFFER', `hub and experts must have one shape, but ${differences.join('; ')}.`);
  }
}

function differing(hub: ModelConfig, expert: ModelConfig): [Key, Field][] {
  return (Object.entries(FIELDS) as [Key, Field][]).filter(
    ([, { of }]) => JSON.stringify(of(expert)) !== JSON.stringify(of(hub)),
  );
}

function show(config: ModelConfig, key: Key): string {
  const value: unknown = FIELDS[key].of(config);
  // How many share a key is half of what their number means.
  if (key === 'heads') return `${value} over ${config.attention.keyValueHeads} key/value heads`;
  if (value === null) return 'none';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.join(' and ') || 'none';
  if (typeof value !== 'object') return `${value}`;
  return Object.entries(value)
    .map(([name, part]) => `${name} ${part}`)
    .join(' ');
}

function showWindow(window: Window | null, layers: number): string | number | null {
  if (!window || window.layers.length === layers) return window?.tokens ?? null;
  return `${window.tokens} in the layers ${window.layers.join(', ')}`;
}
