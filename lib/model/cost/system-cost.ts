/**
 * Parameters and operations of every system that can be made of one hub and its experts (Table 1, Tables 11 and 12): what
 * is stored, trained and executed here, from the shapes alone. Legend as in cost.ts.
 */
import type { ModelConfig } from '../../checkpoint/config.js';
import { type ExpertPart, expertPart, MIXTURES, type MixtureShape, type MixtureSystem } from '../baselines/mixtures.js';
import type { System } from '../systems.js';
import { withoutHead } from '../transformer/member.js';
import {
  forwardFlopsPerToken,
  headFlops,
  layersFlops,
  parameterCount,
  type StitchedShape,
  stitchCosts,
  stitchedCost,
  stitchParameterCount,
} from './cost.js';
import type { FlopsPart } from './paper.js';

/** Parameters of a system, the paper's Table 1. */
export interface SystemParameters {
  /** Which one. */
  system: System;
  /** Changed in the last phase of training. */
  trained: number;
  /** Stored. */
  total: number;
  /** That take part in computing a token. */
  active: number;
}

/** Parameters of every system of M members of one shape. */
export function systemParameters(config: ModelConfig, stitched: StitchedShape): SystemParameters[] {
  const M = stitched.members.length;
  const one = parameterCount(config);
  const router = M * config.width;
  const stitches = stitchParameterCount(stitched);
  const unused = parameterCount(config, (spec) => !withoutHead(spec));
  const behindLast = parameterCount(config, ({ layer }) => layer !== null && layer >= stitched.plan.at(-1)!.afterLayer);
  const bts = M * one + stitches;
  const mixtures = (Object.keys(MIXTURES) as MixtureSystem[]).map((system) => mixtureParameters(system, config, M));
  return [
    { system: 'data-matched', trained: one, total: one, active: one },
    { system: 'soup', trained: 0, total: one, active: one },
    { system: 'btm', trained: 0, total: M * one, active: M * one },
    { system: 'routing', trained: router, total: M * one + router, active: one + router },
    ...mixtures,
    { system: 'bts', trained: stitches, total: bts, active: bts - (M - 1) * (unused + behindLast) },
  ];
}

function mixtureParameters(system: MixtureSystem, config: ModelConfig, M: number): SystemParameters {
  const { experts, adapters }: MixtureShape = MIXTURES[system];
  const { width: C, layers } = config;
  const one = parameterCount(config);
  const perExpert = parameterCount(config, (spec) => experts.some((part) => part === expertPart(spec)));
  const routers = layers * experts.length * M * C;
  const adapted = adapters ? layers * experts.length * M * C * C : 0;
  const total = one + (M - 1) * perExpert + routers + adapted;
  return {
    system,
    trained: adapters ? routers + adapted : total,
    total,
    active: system === 'btx-sample' ? one + routers : total,
  };
}

/** Operations per token of a mixture in inference, over whole sequences of `tokens`. */
export function mixtureFlopsPerToken(system: MixtureSystem, config: ModelConfig, M: number, tokens: number): number {
  const parts = mixtureLayerFlops(MIXTURES[system], config, M, tokens);
  return config.layers * parts.reduce((sum, { flops }) => sum + flops, 0) + headFlops(config);
}

/** Operations per token in a layer, on average: some may have a window. */
function meanLayer(config: ModelConfig, tokens: number) {
  const { attention, projections, feedForward } = layersFlops(config, tokens);
  const { layers } = config;
  return { attention: attention / layers, projections: projections / layers, feedForward: feedForward / layers };
}

/** Of one layer. All experts are computed, also where only one of them counts. */
function mixtureLayerFlops(
  { experts, adapters }: MixtureShape,
  config: ModelConfig,
  M: number,
  tokens: number,
): FlopsPart[] {
  const { width: C } = config;
  const { attention, projections, feedForward } = meanLayer(config, tokens);
  const copies = (part: ExpertPart) => (experts.includes(part) ? M : 1);
  const parts: FlopsPart[] = [
    { part: 'query, key, value and output', flops: copies('attention') * projections },
    { part: 'attention', flops: copies('attention') * attention },
    { part: 'feed-forward', flops: copies('feedForward') * feedForward },
    { part: 'routers', flops: experts.length * 2 * C * M },
  ];
  return adapters ? [...parts, { part: 'adapters', flops: experts.length * M * 2 * C * C }] : parts;
}

/** What is executed for `layers` layers of BAM, and for as many layers of all members and a stitch (Tables 11 and 12). */
export function segmentFlops(stitched: StitchedShape, { layers, tokens }: { layers: number; tokens: number }) {
  const hub = stitched.members[0]!;
  const M = stitched.members.length;
  const times = (n: number) => (part: FlopsPart) => ({ ...part, flops: n * part.flops });
  const bam = mixtureLayerFlops(MIXTURES.bam, hub, M, tokens).map(times(layers));
  const { attention, projections, feedForward } = meanLayer(hub, tokens);
  // The last one, which leads into the hub.
  const stitch = stitchCosts(stitched).at(-1)!;
  const bts: FlopsPart[] = [
    { part: 'query, key, value and output', flops: layers * M * projections },
    { part: 'attention', flops: layers * M * attention },
    { part: 'feed-forward', flops: layers * M * feedForward },
    { part: 'projections of the stitch', flops: stitch.projectionFlops },
    { part: 'gate of the stitch', flops: stitch.gateFlops },
  ];
  const total = (parts: readonly FlopsPart[]) => parts.reduce((sum, { flops }) => sum + flops, 0);
  return { bam: { parts: bam, total: total(bam) }, bts: { parts: bts, total: total(bts) } };
}

/**
 * Operations per token in inference of every system, over whole sequences of `tokens`.
 *
 * @param tokens T, tokens of a sequence
 */
export function systemFlops(config: ModelConfig, stitched: StitchedShape, tokens: number): Map<System, number> {
  const M = stitched.members.length;
  const one = forwardFlopsPerToken(config, tokens);
  const mixtures = Object.keys(MIXTURES) as MixtureSystem[];
  return new Map<System, number>([
    ['data-matched', one],
    ['soup', one],
    ['btm', M * one],
    // Once a sequence, beside this, the router looks at its first tokens.
    ['routing', one],
    ...mixtures.map((system) => [system, mixtureFlopsPerToken(system, config, M, tokens)] as const),
    ['bts', stitchedCost(stitched, { batch: 1, tokens }).forwardFlops],
  ]);
}
