import { join } from 'node:path';
import { z } from 'zod';
import { exists } from '../../base/file.js';
import { count, integer } from '../../base/schema.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { readConfig } from '../../checkpoint/dense-checkpoint.js';
import { readManifest } from '../../checkpoint/stitch-manifest.js';
import type { StitchedShape } from '../../model/cost/cost.js';
import { PAPER_CONFIG, PAPER_MEMBERS, PAPER_STITCHES } from '../../model/cost/paper.js';
import { stitchOptions } from '../../model/stitches/options.js';
import { planStitches } from '../../model/stitches/stitch-plan.js';

/** The shape that `bts params` and `bts flops` compute with. */
export const shapeOptions = {
  config: z.string().default('paper').meta({
    description: "'paper', or the folder of a model, dense or stitched",
    argument: 'paper|folder',
  }),
  members: integer(2, 1000)
    .optional()
    .meta({
      description: `The hub and its experts (default: ${PAPER_MEMBERS}, or those of the stitched model)`,
    }),
  stitches: count()
    .optional()
    .meta({
      description: `Stitch layers (default: ${PAPER_STITCHES}, or those of the stitched model)`,
    }),
  rank: stitchOptions.rank,
};
type Values = z.output<z.ZodObject<typeof shapeOptions>>;

/** The members' configuration and how they are stitched. Throws what reading a folder throws, and BAD_OPTION. */
export async function readShape(values: Values): Promise<{ config: ModelConfig; stitched: StitchedShape }> {
  const { config: source } = values;
  if (source !== 'paper' && (await exists(join(source, 'bts.json')))) {
    const manifest = await readManifest(source);
    const config = await readConfig(manifest.members[0]!.path);
    const plan = values.stitches === undefined ? manifest.plan : planStitches(config.layers, values.stitches);
    const members = Array.from({ length: values.members ?? manifest.members.length }, () => config);
    return { config, stitched: { ...manifest, rank: values.rank ?? manifest.rank, plan, members } };
  }
  const config = source === 'paper' ? PAPER_CONFIG : await readConfig(source);
  const plan = planStitches(config.layers, values.stitches ?? Math.min(PAPER_STITCHES, config.layers));
  const members = Array.from({ length: values.members ?? PAPER_MEMBERS }, () => config);
  const settings = { gate: 'channel', gateBias: false, rank: values.rank, expertsAfterMerge: 'projected' } as const;
  return { config, stitched: { ...settings, members, plan } };
}
