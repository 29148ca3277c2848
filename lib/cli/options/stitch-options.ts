import { z } from 'zod';
import { MemberName } from '../../checkpoint/stitch-manifest.js';
import { planStitches } from '../../model/stitches/stitch-plan.js';
import { count } from './options.js';

const folder = z.string().min(1, 'expected a folder');

/** The members of a stitched model. */
export const memberOptions = {
  hub: folder.meta({ description: 'The seed model that the experts descend from', argument: 'folder' }),
  expert: z
    .record(MemberName, folder)
    .refine((experts) => Object.keys(experts).length > 0, 'expected at least one')
    .refine((experts) => !Object.hasOwn(experts, 'hub'), "'hub' is the name of the hub")
    .meta({ description: 'An expert and its folder. Repeatable', argument: 'name=folder' }),
};

export const rankOption = count().optional().meta({
  description: 'Projections and channel gates are products of this rank (default: full rank)',
});

/** What is put between the members. */
export const stitchOptions = {
  stitches: count().optional().meta({ description: 'Stitch layers (default: 4, or as many as there are layers)' }),
  alternate: z
    .boolean()
    .default(true)
    .meta({ description: 'All stitches lead into the hub; otherwise directions take turns' }),
  gate: z.enum(['channel', 'scalar']).default('channel').meta({
    description: 'A gate for each channel, or one for the whole token',
  }),
  rank: rankOption,
  init: z.enum(['uniform', 'hub']).default('uniform').meta({
    description: 'At first all members weigh the same, or the hub alone is heard',
  }),
  expertsAfterMerge: z.enum(['projected', 'unchanged']).default('projected').meta({
    description: 'What experts go on with behind a stitch into the hub',
  }),
};

const schema = z.object({ ...memberOptions, ...stitchOptions });
export type StitchValues = z.output<typeof schema>;

/** The plan, gates and so on of the stitched model, as its manifest has them. Throws BAD_OPTION. */
export function stitchShape(
  { stitches, alternate, gate, rank, init, expertsAfterMerge }: StitchValues,
  layers: number,
) {
  const plan = planStitches(layers, stitches ?? Math.min(4, layers), alternate);
  return { plan, gate, rank, gateBias: init === 'hub', expertsAfterMerge };
}
