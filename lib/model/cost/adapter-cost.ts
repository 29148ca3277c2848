/** What an adapter adds to the cost of its hub, from shapes alone. */
import type { Adapter } from '../../checkpoint/adapter.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { type LayerRole, parameterNames, type Role, rolesOf } from '../../checkpoint/names.js';
import type { TensorEntry } from '../../checkpoint/safetensors.js';
import { withoutHead } from '../transformer/member.js';

/** What an adapter adds to the cost of its hub. */
export interface AdapterCost {
  /** Numbers in its files. */
  parameters: number;
  /** Of what a stitched model reads of them. */
  bytes: number;
  /** Operations per token in each layer: on the way in, and in the two matrices that lead out of its parts. */
  layers: readonly { inside: number; outward: number }[];
  /** The least and the largest rank; null where it has none. */
  ranks: readonly [least: number, most: number] | null;
}

const OUTWARD = new Set<string>(['output', 'down'] satisfies LayerRole[]);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const size = ({ shape }: TensorEntry) => shape.reduce((product, length) => product * length, 1);

export function adapterCost(config: ModelConfig, { lowRank, replaced }: Adapter): AdapterCost {
  const layers = Array.from({ length: config.layers }, () => ({ inside: 0, outward: 0 }));
  let parameters = 0;
  let bytes = 0;
  for (const spec of parameterNames(config)) {
    const { down, up } = lowRank.get(spec.name) ?? {};
    const entries = [down, up, replaced.get(spec.name)].filter((entry) => entry !== undefined);
    parameters += sum(entries.map(size));
    if (withoutHead(spec)) bytes += sum(entries.map((entry) => entry.bytes));
    if (!down || !up || spec.layer === null) continue;
    const [part] = rolesOf(spec);
    // What stands together in one tensor reads the same, but each part of it by way of the rank on its own.
    const flops = 2 * (spec.parts.length * size(down) + size(up));
    layers[spec.layer]![OUTWARD.has(part!) ? 'outward' : 'inside'] += flops;
  }
  const ranks = [...lowRank.values()].map(({ down }) => down.shape[0]!);
  return {
    parameters,
    bytes,
    layers,
    ranks: ranks.length > 0 ? [Math.min(...ranks), Math.max(...ranks)] : null,
  };
}

/** Operations per token that adapters add to the layers first..last-1. */
export function addedFlops(
  adapters: readonly (AdapterCost | null)[],
  first: number,
  last: number,
  part: (layer: AdapterCost['layers'][number]) => number = ({ inside, outward }) => inside + outward,
): number {
  return sum(adapters.flatMap((adapter) => (adapter?.layers ?? []).slice(first, last).map(part)));
}

/** What training an adapter takes beside the pass of its base's hidden states and of their gradients. */
export interface AdapterTraining {
  /** Numbers that are trained. */
  parameters: number;
  /** Operations per token of a forward pass, in all layers and in the head. */
  flops: number;
  /** Those of the insides of layers, which may be computed again. */
  insideFlops: number;
  /** Floats per row of a layer that gradients of the adapter need beside those of hidden states: where layers keep their insides, and where not. */
  kept: { whole: number; recomputed: number };
}

/** @param ranks by the names of the tensors that are adapted */
export function adapterTraining(config: ModelConfig, ranks: ReadonlyMap<string, number>): AdapterTraining {
  const { width: C, feedForward, attention } = config;
  const total = { parameters: 0, flops: 0, insideFlops: 0 };
  const adapted = new Set<Role>();
  for (const spec of parameterNames(config)) {
    const rank = ranks.get(spec.name);
    if (rank === undefined) continue;
    const [outputs = 0, inputs = 0] = spec.shape;
    const flops = 2 * rank * (spec.parts.length * inputs + outputs);
    total.parameters += rank * (inputs + outputs);
    total.flops += flops;
    for (const role of rolesOf(spec)) adapted.add(role);
    if (spec.layer !== null && !OUTWARD.has(rolesOf(spec)[0]!)) total.insideFlops += flops;
  }
  const has = (...roles: LayerRole[]) => roles.some((role) => adapted.has(role));
  const forDown = has('down') ? feedForward.width : 0;
  const forOutput = has('output') ? attention.heads * attention.headWidth : 0;
  // What attention gives is kept for its own gradient where the inside is.
  const whole = (has('query', 'key', 'value') ? C : 0) + (has('gate', 'up') ? C : 0) + forDown;
  return { ...total, kept: { whole, recomputed: forOutput + forDown } };
}
