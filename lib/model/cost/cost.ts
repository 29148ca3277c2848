/**
 * What a model costs, computed from its shape alone: parameters, bytes and floating-point operations. A multiply-add
 * counts as two operations; elementwise work (norms, rotation, softmax, mixing) is left out, it is below a percent at
 * real widths. Legend: M members, E experts, B batch, T tokens, N = B*T rows, C width, F feed-forward width, H query heads,
 * K key/value heads, D head width, V vocabulary, G gate width.
 */
import { type ModelConfig, ropeOf, windowOf } from '../../checkpoint/model-config.js';
import { type ParameterSpec, parameterNames } from '../../checkpoint/names.js';
import type { StitchManifest } from '../../checkpoint/stitch-manifest.js';
import type { QuantizedType } from '../../tensor/addon.js';
import { DIRECTIONS } from '../stitches/directions/index.js';
import { type StitchDesign, type StitchSettings, stitchDesign } from '../stitches/kinds/index.js';
import { type StitchCost, stitchCost, stitchParameters } from '../stitches/stitch-cost.js';
import { type Trainable, withoutHead } from '../transformer/member.js';
import type { PackedTypes } from '../transformer/packed-types.js';
import { type AdapterCost, type AdapterTraining, addedFlops } from './adapter-cost.js';
import { bytesOf, type Held, typeOf, wideningBytes } from './held.js';

/**
 * What a training step does with the inside of layers, which gradients need: 'always' computes it again, 'never' keeps it, 'auto'
 * keeps what fits.
 */
export const RECOMPUTE = ['auto', 'always', 'never'] as const;
/** Which layers a training step computes again in place of keeping what gradients need of them. */
export type Recompute = (typeof RECOMPUTE)[number];

/** B sequences of T tokens. */
export interface BatchSize {
  /** B, sequences. */
  batch: number;
  /** T, tokens of a sequence. */
  tokens: number;
  /** Default 'never'. Of 'auto' the least that it takes is told: what 'always' does. */
  recompute?: Recompute;
}

/** What a model takes: parameters, bytes and operations. */
export interface Cost {
  /** Of all members and stitches. */
  parameters: number;
  /** How many of them a training run changes. */
  trainedParameters: number;
  /** Operations for one token of a full sequence, in inference. */
  forwardFlops: number;
  /** Operations for one token of a training step, forward and backward. */
  trainingFlops: number;
  /** Bytes that the weights take in inference. */
  weightBytes: number;
  /** Most bytes in tensors at once in a training step; what ops need as scratch memory comes on top. */
  trainingBytes: number;
  /** Of such scratch memory what a GPU widens matrices in 8 and 4 bits in, to bf16, to multiply many rows; the CPU takes none. */
  wideningBytes: number;
  /** Bytes that the key/value cache takes for each token of a sequence. */
  cacheBytes: number;
}

/** The part of a stitched model's manifest that its cost depends on, and its members' configurations, the hub's first. */
export interface StitchedShape extends StitchSettings, Pick<StitchManifest, 'plan' | 'expertsAfterMerge'> {
  /** The hub first. */
  members: readonly ModelConfig[];
  /** Of members that are adapters of the hub what they add to it; null for others. Default: all are whole models. */
  adapters?: readonly (AdapterCost | null)[] | undefined;
  /** What the members' matrices are held in; undefined, the default: as their files have them. */
  quantized?: readonly (QuantizedType | undefined)[] | undefined;
  /** Of members that others quantized what each matrix in codes is held in, by name; null, the default, for others. */
  packed?: readonly (PackedTypes | null)[] | undefined;
  /** What the members' weights take, where it is known; default as if only adapters shared any. */
  memberBytes?: number | undefined;
}

const FLOAT_BYTES = 4;
// The value, its gradient, and AdamW's two moments.
const FLOATS_PER_TRAINED = 4;
/** Of a trained parameter in all. */
export const TRAINED_BYTES = FLOAT_BYTES * FLOATS_PER_TRAINED;
// The backward of attention computes q k^T again beside the four products of the gradients; the forward has two.
const ATTENTION_BACKWARD = 5 / 2;
const SHORTEST_ROPE_TABLE = 512;

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const size = ({ shape }: ParameterSpec) => shape.reduce((product, length) => product * length, 1);

/** Parameters of a dense model, biases and norms included; tied embeddings count once. */
export function parameterCount(config: ModelConfig, counted: Trainable = () => true): number {
  return sum(parameterNames(config).filter(counted).map(size));
}

/** Parameters of all stitches. */
export function stitchParameterCount(shape: StitchedShape): number {
  return shape.plan.length * stitchParameters(designOf(shape));
}

/** The form of all stitches. */
function designOf(shape: StitchedShape): StitchDesign {
  return stitchDesign(shape, shape.members.length, shape.members[0]!.width);
}

/** Of each stitch, the first one first. */
export function stitchCosts(shape: StitchedShape): StitchCost[] {
  const design = designOf(shape);
  const last = shape.plan.length - 1;
  return shape.plan.map(({ kind }, index) =>
    stitchCost(design, DIRECTIONS[kind], index === last ? 'ended' : shape.expertsAfterMerge),
  );
}

/**
 * Operations per token of a dense model over sequences of `tokens`: 2 for each weight of a matrix that it is multiplied
 * with (the head, too, but no embedding), and `4 H D` in each layer for each key that a token sees.
 *
 * @param tokens T, tokens of a sequence
 */
export function forwardFlopsPerToken(config: ModelConfig, tokens: number): number {
  return layersFlops(config, tokens).total + headFlops(config);
}

/** The cost of a dense model, and of training those of its parameters that `trained` picks; default all. */
export function denseCost(config: ModelConfig, size: BatchSize, trained: Trainable = () => true): Cost {
  return costOf({ config }, size, trained);
}

/** The cost of a dense model with an adapter, and of training that alone. */
export function adaptedCost(model: Held, size: BatchSize, adapter: AdapterTraining): Cost {
  return costOf(model, size, () => false, adapter);
}

function costOf(model: Held, size: BatchSize, trained: Trainable, adapter?: AdapterTraining): Cost {
  const { config } = model;
  const { batch, tokens } = size;
  const recompute = isRecomputed(size);
  const { width: C, layers, vocabularySize: V } = config;
  const { width: F } = config.feedForward;
  const { flops: added = 0, insideFlops: addedInside = 0 } = adapter ?? {};
  const parameters = parameterCount(config) + (adapter?.parameters ?? 0);
  const trainedParameters = adapter?.parameters ?? parameterCount(config, trained);
  const all = layersFlops(config, tokens);
  const forwardFlops = all.total + added + headFlops(config);
  // Each matrix is multiplied again for the gradient of its input, and for its own where it is trained; of an adapter's, what is
  // between the two is computed again, too.
  const again = recompute ? recomputedFlops(config, all) + addedInside : 0;
  const products = adapter ? 1 : 2;
  const backwardFlops =
    products * (all.linear + headFlops(config)) + ATTENTION_BACKWARD * all.attention + 3 * added + again;

  // Beside what gradients of the input need, those of the weights need what each matrix was multiplied with.
  const kept = adapter?.kept ?? { whole: 2 * C + F, recomputed: C + F };
  const keptInLayer = recompute ? 2 * C + behindParts(config) + kept.recomputed : savedInLayer(config) + kept.whole;
  const saved = layers * keptInLayer + C;
  const insideLayer = recompute ? 3 * F + 3 * C : F + 2 * C;
  const most = saved + Math.max(V + 2 * C, insideLayer);
  return {
    parameters,
    trainedParameters,
    forwardFlops,
    trainingFlops: forwardFlops + backwardFlops,
    weightBytes: bytesOf(model) + FLOAT_BYTES * (adapter?.parameters ?? 0),
    trainingBytes:
      bytesOf(model, (spec) => !trained(spec)) +
      FLOAT_BYTES * (FLOATS_PER_TRAINED * trainedParameters + batch * tokens * most + ropeTables([config], tokens)),
    wideningBytes: wideningBytes([model]),
    cacheBytes: cacheBytes(config),
  };
}

const isRecomputed = ({ recompute = 'never' }: BatchSize): boolean => recompute !== 'never';

/** Bytes of weights and of what a layer of all members needs for a moment, in a pass without gradients. */
export function inferenceBytes(
  members: readonly ModelConfig[],
  memberBytes: number,
  { batch, tokens }: BatchSize,
): number {
  return memberBytes + FLOAT_BYTES * batch * tokens * members.length * insideInference(members[0]!);
}

/**
 * The cost of a stitched model and of training its stitches. Behind the last stitch only the hub goes on. The backward
 * runs through the frozen layers of all members, for the gradient of their input alone, down to the first stitch; the
 * layers below it store nothing.
 *
 * Members that are adapters multiply with the hub's weights, and with their own of low rank besides.
 *
 * `trainingBytes` is the weights, the stitches with gradients and moments, what the layers and stitches from the first
 * stitch on keep for the backward, and the larger of what the head and the backward of a layer need for a moment.
 */
export function stitchedCost(shape: StitchedShape, size: BatchSize): Cost {
  const { batch, tokens } = size;
  const recompute = isRecomputed(size);
  const { members, plan, adapters = [], quantized = [], packed = [] } = shape;
  const hub = members[0]!;
  const { width: C, vocabularySize: V, layers } = hub;
  const { width: F } = hub.feedForward;
  const M = members.length;
  const first = plan[0]!.afterLayer;
  const last = plan.at(-1)!.afterLayer;
  const [between, above] = [last - first, layers - last];

  const ofAll = layersFlops(hub, tokens, 0, last);
  const ofHub = layersFlops(hub, tokens, last);
  const costs = stitchCosts(shape);
  const stitchFlops = sum(costs.map(({ flops }) => flops));
  const forwardFlops = M * ofAll.total + addedFlops(adapters, 0, last) + ofHub.total + stitchFlops + headFlops(hub);
  const back = (flops: LayersFlops) =>
    flops.linear + ATTENTION_BACKWARD * flops.attention + (recompute ? recomputedFlops(hub, flops) : 0);
  const addedBack =
    addedFlops(adapters, first, last) + (recompute ? addedFlops(adapters, first, last, ({ inside }) => inside) : 0);
  const layersBack = M * back(layersFlops(hub, tokens, first, last)) + addedBack + back(ofHub);
  // What the first stitch reads has no gradient, so it is not computed again.
  const again = recompute ? stitchFlops - costs[0]!.flops : 0;
  const stitchesBack = 2 * stitchFlops - costs[0]!.inputFlops + again;
  const savedByStitch = costs.map(({ saved }, index) => (recompute && index > 0 ? M * C : saved));
  const keptInLayer = recompute ? 2 * C + behindParts(hub) : savedInLayer(hub);
  const saved = (M * between + above) * keptInLayer + sum(savedByStitch) + C;
  const insideLayer = (recompute ? 3 : 1) * F + 2 * C;
  const inBackward = saved + Math.max(V + 2 * C, (between > 0 ? M : 1) * insideLayer);
  const belowFirstStitch = first > 0 ? M * insideInference(hub) : 0;

  const stitches = stitchParameterCount(shape);
  const held: Held[] = members.map((config, m) => ({ config, quantized: quantized[m], packed: packed[m] }));
  const own = held.map((member, m) => {
    if (!adapters[m]) return m === 0 ? () => true : withoutHead;
    // What the hub has in the same form is in memory once.
    return (spec: ParameterSpec) => typeOf(spec, member) !== typeOf(spec, held[0]!);
  });
  const memberBytes = held.map((member, m) => (adapters[m]?.bytes ?? 0) + bytesOf(member, own[m]));
  const weights = shape.memberBytes ?? sum(memberBytes);
  return {
    parameters: sum(members.map((config, m) => adapters[m]?.parameters ?? parameterCount(config))) + stitches,
    trainedParameters: stitches,
    forwardFlops,
    trainingFlops: forwardFlops + layersBack + stitchesBack + headFlops(hub),
    weightBytes: weights + FLOAT_BYTES * stitches,
    trainingBytes:
      weights +
      FLOAT_BYTES *
        (FLOATS_PER_TRAINED * stitches +
          batch * tokens * Math.max(inBackward, belowFirstStitch) +
          ropeTables(members, tokens)),
    wideningBytes: wideningBytes(held.map((member, m) => ({ ...member, part: own[m] }))),
    cacheBytes: M * cacheBytes(hub),
  };
}

/** One member's part of a stitched model. */
export interface MemberPart {
  /** 0 is the hub. */
  member: number;
  /** Of its weights. */
  bytes: number;
  /** Parameters of the stitches that are its. */
  trained: number;
}

/** The `trainingBytes` of one member where each has a device of its own: `stitchedCost` says what they are. */
export function memberTrainingBytes(shape: StitchedShape, part: MemberPart, size: BatchSize): number {
  const { batch, tokens } = size;
  const recompute = isRecomputed(size);
  const { members, plan } = shape;
  const hub = members[0]!;
  const { width: C, vocabularySize: V, layers } = hub;
  const isHub = part.member === 0;
  const [first, last] = [plan[0]!.afterLayer, isHub ? layers : plan.at(-1)!.afterLayer];
  const keptInLayer = recompute ? 2 * C + behindParts(hub) : savedInLayer(hub);
  const stitches = sum(
    plan.map(({ kind }) => memberSaved(shape, kind === (isHub ? 'experts_into_hub' : 'hub_into_experts'), isHub)),
  );
  const saved = (last - first) * keptInLayer + stitches + C;
  const insideLayer = (recompute ? 3 : 1) * hub.feedForward.width + 2 * C;
  const inBackward = saved + (isHub ? Math.max(V + 2 * C, insideLayer) : insideLayer);
  const rows = batch * tokens * Math.max(inBackward, insideInference(hub));
  return part.bytes + FLOAT_BYTES * (FLOATS_PER_TRAINED * part.trained + rows + ropeTables([hub], tokens));
}

/** Floats per row that a member's half of a stitch keeps, composed of small ops; `gated`: the half that has the gates. */
function memberSaved(
  { members: { length: M, 0: hub }, ...settings }: StitchedShape,
  gated: boolean,
  isHub: boolean,
): number {
  const { width: C } = hub!;
  const { shape } = stitchDesign(settings, M, C);
  const inside = settings.rank ?? 0;
  if (!gated) return isHub ? 0 : C + inside;
  // Projections as they come, side by side with the hub's, weighed; logits and gates.
  return isHub ? 3 * M * C + 2 * M * shape.gateWidth + M * inside : 3 * C + 2 * shape.gateWidth + 2 * inside;
}

/** Operations per token in some layers; `linear` is all their matrices: the attention's projections and the feed-forward part. */
export interface LayersFlops {
  /** `2 (2 C H D + 2 C K D)` a layer. */
  projections: number;
  /** `2 * 3 C F` a layer. */
  feedForward: number;
  linear: number;
  /** `4 H D` for each key that a token sees on average in a layer. */
  attention: number;
  total: number;
}

/** Of the layers first..last-1, by default of all. */
export function layersFlops(config: ModelConfig, tokens: number, first = 0, last = config.layers): LayersFlops {
  const { width: C } = config;
  const { width: F } = config.feedForward;
  const { heads: H, keyValueHeads: K, headWidth: D } = config.attention;
  const layers = Array.from({ length: last - first }, (_, i) => first + i);
  const projections = layers.length * 2 * C * (2 * H * D + 2 * K * D);
  const feedForward = layers.length * 2 * C * 3 * F;
  const attention = (4 * H * D * sum(layers.map((index) => keysSeen(windowOf(config, index), tokens)))) / tokens;
  const linear = projections + feedForward;
  return { projections, feedForward, linear, attention, total: linear + attention };
}

/** Keys that all tokens together see: the first ones 1, 2, .. of them, those behind them `window`. */
function keysSeen(window: number | null, tokens: number): number {
  const seen = Math.min(window ?? tokens, tokens);
  return (seen * (seen + 1)) / 2 + (tokens - seen) * seen;
}

/** Of layers whose inside is computed again: all but the two matrices that lead out of each. */
function recomputedFlops(config: ModelConfig, { projections, feedForward, attention }: LayersFlops): number {
  const { heads: H, keyValueHeads: K } = config.attention;
  const output = (projections * H) / (2 * H + 2 * K);
  return projections - output + (feedForward * 2) / 3 + attention;
}

export function headFlops({ vocabularySize: V, width: C }: ModelConfig): number {
  return 2 * V * C;
}

/**
 * Floats per row that a frozen layer keeps: what its norms read (its input and what comes behind the attention, or what its
 * parts give, or both), q, k, v, the attention's result and the logarithm of its sums, and the gated and the plain half of
 * the feed-forward part.
 */
function savedInLayer(config: ModelConfig): number {
  const { width: C } = config;
  const { width: F } = config.feedForward;
  const { heads: H, keyValueHeads: K, headWidth: D } = config.attention;
  const beforeHeadNorms = config.attention.queryKeyNorm !== 'none' ? (H + K) * D : 0;
  const readByNorms = (config.norm.place === 'after' ? 0 : 2 * C) + behindParts(config);
  return readByNorms + 2 * H * D + 2 * K * D + H + 2 * F + beforeHeadNorms;
}

/** Floats per row of what the two parts of a layer give, where norms stand behind them. */
function behindParts({ norm, width: C }: ModelConfig): number {
  return norm.place === 'before' ? 0 : 2 * C;
}

/** Floats per row that a layer without a gradient needs for a moment: in the attention, or in the feed-forward part. */
function insideInference({ width: C, feedForward: { width: F }, attention }: ModelConfig) {
  const { heads: H, keyValueHeads: K, headWidth: D } = attention;
  return 2 * C + Math.max(3 * H * D + 3 * K * D, 2 * C + F);
}

/** Of a key/value cache, for each token of a sequence. */
export function cacheBytes({ layers, attention: { keyValueHeads: K, headWidth: D } }: ModelConfig): number {
  return FLOAT_BYTES * layers * 2 * K * D;
}

/** Floats of all rotary tables: one for each way to rotate. */
function ropeTables(members: readonly ModelConfig[], tokens: number): number {
  const ways = members.flatMap((config) =>
    Array.from({ length: config.layers }, (_, index) => ropeOf(config, index)).filter((rope) => rope !== null),
  );
  const width = 2 * Math.ceil(members[0]!.rope.width / 2);
  const positions = Math.max(SHORTEST_ROPE_TABLE, 2 ** Math.ceil(Math.log2(tokens)));
  return new Set(ways.map((rope) => JSON.stringify(rope))).size * width * positions;
}
