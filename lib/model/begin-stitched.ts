import { z } from 'zod';
import { BtsError } from '../base/errors.js';
import { checkOptions } from '../base/options-check.js';
import { Placement, type StitchManifest } from '../checkpoint/stitch-manifest.js';
import { FAMILY_OPTIONS, type Family, type OpenMember, openFamily } from './members/member-files.js';
import { stitchDesign } from './stitches/kinds/index.js';
import { stitchOptions, stitchShape } from './stitches/options.js';
import { checkPlan } from './stitches/stitch-plan.js';
import { type QuantizeOptions, quantizationOf, quantizeOptions } from './transformer/quantization.js';

export interface StitchOptions extends z.input<z.ZodObject<typeof stitchOptions>>, Family, QuantizeOptions {
  /** Where the stitches stand, in place of `stitches` and `alternate`. */
  plan?: readonly Placement[];
}

// Callers without TypeScript are held to the same: what is trained must not be refused when it is loaded again.
const PLACED = { ...stitchOptions, ...quantizeOptions, plan: z.array(Placement).readonly().optional() };

/** A stitched model that is to be made. */
export interface BegunStitches {
  /** The members' files; their weights are still on the disk. */
  opened: OpenMember[];
  /** What `bts.json` will say, but for the members. */
  settings: Omit<StitchManifest, 'members'>;
  /** Of what begins random. */
  seed: number;
}

/**
 * Opens the members of a model to be, and says where its stitches stand. Throws MEMBERS_DIFFER, BAD_OPTION, BAD_STITCH for a plan
 * that does not fit, and whatever opening a checkpoint throws.
 *
 * @param where what callers know the function by
 */
export async function beginStitched(where: string, options: StitchOptions): Promise<BegunStitches> {
  const checked = checkOptions(where, PLACED, options, FAMILY_OPTIONS);
  if (options.plan && (options.stitches !== undefined || options.alternate !== undefined)) {
    const message = 'a plan says where the stitches stand: leave out stitches and alternate.';
    throw new BtsError('BAD_OPTION', message);
  }
  const opened = await openFamily(options);
  const { layers, width } = opened[0]!.config;
  const shape = stitchShape(checked, layers);
  const plan = [...(checked.plan ?? shape.plan)];
  checkPlan(plan, layers);
  stitchDesign(shape, opened.length, width);
  return { opened, settings: { ...shape, plan, dropout: checked.dropout }, seed: checked.seed };
}

/** What the members of a stitched model are held as: asked for, or remembered. Throws what `quantizationOf` throws. */
export function heldAs(opened: readonly OpenMember[], { members }: StitchManifest, asked: QuantizeOptions) {
  const quantized = quantizationOf(
    opened.map((member, m) => ({ ...member, held: members[m]!.held })),
    asked,
  );
  const remembered = members.map(({ held: _, ...member }, m) => ({
    ...member,
    held: quantized[m] ?? ('files' as const),
  }));
  return { quantized, remembered };
}
