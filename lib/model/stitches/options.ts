/** How members are stitched together. */
import type { z } from 'zod';
import { choice, count, flag, properFraction, seed } from '../../base/schema.js';
import { GATE_NAMES } from '../../checkpoint/stitch-manifest.js';
import { planStitches } from './stitch-plan.js';

/** Where nothing is said of their number, and there are as many layers. */
export const STITCHES = 4;

export const stitchOptions = {
  /** How many stitches; default 4, or as many as there are layers. */
  stitches: count()
    .optional()
    .meta({ description: `Stitch layers (default: ${STITCHES}, or as many as there are layers)` }),
  /** Directions take turns (default); false: all lead into the hub. */
  alternate: flag().default(true).meta({
    description: 'All stitches lead into the hub; otherwise directions take turns',
  }),
  /** A gate for each channel (default) or one for the whole token. */
  gate: choice(GATE_NAMES).default('channel').meta({
    description: 'A gate for each channel, or one for the whole token',
  }),
  /** Projections are the identity plus a product of this rank, channel gates such a product; default: full rank. */
  rank: count().optional().meta({
    description: 'Projections and channel gates are products of this rank (default: full rank)',
  }),
  /** `uniform` (default): all members weigh the same at first; `hub`: a gate bias lets the untrained model equal the hub. */
  init: choice(['uniform', 'hub']).default('uniform').meta({
    description: 'At first all members weigh the same, or the hub alone is heard',
  }),
  /** What experts go on with behind a stitch into the hub: their projection (default) or what they had. */
  expertsAfterMerge: choice(['projected', 'unchanged']).default('projected').meta({
    description: 'What experts go on with behind a stitch into the hub',
  }),
  /** On the gate logits, in training; default 0. */
  dropout: properFraction().default(0).meta({ description: 'Dropout on the gate logits' }),
  /** Of weights that begin random; default 0. */
  seed: seed().meta({ description: 'Of weights that begin random' }),
};

/** The stitches of a model as its manifest has them. Throws BAD_OPTION for more of them than layers. */
export function stitchShape(
  options: Omit<z.output<z.ZodObject<typeof stitchOptions>>, 'dropout' | 'seed'>,
  layers: number,
) {
  const { stitches = Math.min(STITCHES, layers), alternate, gate, rank, init, expertsAfterMerge } = options;
  const plan = planStitches(layers, stitches, alternate);
  return { plan, gate, gateBias: init === 'hub', ...(rank !== undefined && { rank }), expertsAfterMerge };
}
