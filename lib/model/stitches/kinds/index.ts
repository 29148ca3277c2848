/**
 * The kinds of stitches: what projects and gates. Adding one touches
 *
 *   lib/model/stitches/kinds/NAME.ts        its weights, the composition of small ops that they stand in, its cost
 *   lib/model/stitches/kinds/index.ts       the line below by which a model's settings pick it
 *   lib/checkpoint/stitch-manifest.ts       its settings as bts.json has them, absent in other kinds' models
 *   lib/model/stitches/options.ts           the same settings as options, in TypeScript and on the command line
 *   lib/cli/options/shape-options.ts        a line for `bts params` and `bts flops`
 *   test/model/stitch-kinds.test.ts         its formula in f64
 *   test/model/stitched-model.test.ts       a line among the variants, which brings saving, gradients, decoding and tracing
 *   test/model/cost.test.ts                 a line, so that its memory is measured
 *
 * Growing, selecting and training for an expert alone, files, `bts params`, `bts flops` and `bts check` follow. A kind that
 * the fused ops of the addon compute gives them its weights (`fused`); the composition stays what they are checked against.
 */
import { BtsError, type ErrorCode } from '../../../base/errors.js';
import type { StitchManifest } from '../../../checkpoint/stitch-manifest.js';
import { GATES } from '../gates.js';
import { fullRank } from './full-rank.js';
import type { StitchKind, StitchShape } from './kind.js';
import { lowRank } from './low-rank.js';

/** What a model's manifest says of the form of its stitches. */
export type StitchSettings = Pick<StitchManifest, 'gate' | 'gateBias' | 'rank'>;

/** The form of every stitch of a model. */
export interface StitchDesign {
  kind: StitchKind;
  shape: StitchShape;
}

/** The form that settings ask for, of stitches between members of a width. Throws BAD_OPTION, or `code`, where there is none. */
export function stitchDesign(
  settings: StitchSettings,
  members: number,
  width: number,
  code: ErrorCode = 'BAD_OPTION',
): StitchDesign {
  const { gate, gateBias, rank } = settings;
  const kind: StitchKind = rank === undefined ? fullRank : lowRank(rank);
  const shape = { members, width, gateWidth: GATES[gate].width(width), gateBias };
  const refusal = kind.refusal?.(shape);
  if (refusal) throw new BtsError(code, `how to stitch: ${refusal}.`);
  return { kind, shape };
}
