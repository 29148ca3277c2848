import { z } from 'zod';
import { mixtureShares } from './mixture-shares.js';
import { commaList } from './options.js';
import type { StitchValues } from './stitch-options.js';

/** What the paper takes away from BTS, or changes, to see what it was good for. */
const ABLATIONS = {
  'expert-as-hub': 'the first expert is the hub, the seed one of the experts (Table 3)',
  'no-seed': 'the first expert is the hub, the seed takes no part (Tables 4 and 7)',
  'non-alternating': 'all stitches lead into the hub (Tables 5 and 8)',
  'one-stitch': '(Table 9)',
  'four-stitches': '(Table 9)',
  'ten-stitches': '(Table 9)',
  'even-mixture': "experts' domains have no share of their own: all have the same (Table 10)",
  'scalar-gate': 'one gate for the whole token',
  'low-rank': 'projections and gates are products of rank 16, or of --rank',
  'experts-unchanged': 'behind a stitch into the hub experts go on with what they had',
  'hub-start': 'at first the hub alone is heard',
} as const;
export type Ablation = keyof typeof ABLATIONS;

/** The name of the seed where it is one of the experts. */
const SEED = 'seed';

export const ablationOptions = {
  ablate: commaList(z.enum(Object.keys(ABLATIONS) as [Ablation, ...Ablation[]]))
    .optional()
    .meta({
      description: `Take something away, several with commas between: ${Object.entries(ABLATIONS)
        .map(([name, what]) => `${name}: ${what}`)
        .join('; ')}`,
      argument: 'names',
    }),
};

/** The options with the ablations in them put into effect. */
export function applyAblations<V extends StitchValues & { ablate?: Ablation[] | undefined }>(values: V): V {
  const changed = { ...values };
  const [first] = Object.entries(values.expert) as [[string, string]];
  const { [first[0]]: _, ...others } = values.expert;
  const changes: Record<Ablation, () => void> = {
    'expert-as-hub': () => Object.assign(changed, { hub: first[1], expert: { [SEED]: values.hub, ...others } }),
    'no-seed': () => Object.assign(changed, { hub: first[1], expert: others }),
    'non-alternating': () => Object.assign(changed, { alternate: false }),
    'one-stitch': () => Object.assign(changed, { stitches: 1 }),
    'four-stitches': () => Object.assign(changed, { stitches: 4 }),
    'ten-stitches': () => Object.assign(changed, { stitches: 10 }),
    'even-mixture': () => {},
    'scalar-gate': () => Object.assign(changed, { gate: 'scalar' }),
    'low-rank': () => Object.assign(changed, { rank: values.rank ?? 16 }),
    'experts-unchanged': () => Object.assign(changed, { expertsAfterMerge: 'unchanged' }),
    'hub-start': () => Object.assign(changed, { init: 'hub' }),
  };
  for (const name of values.ablate ?? []) changes[name]();
  return changed;
}

/** Each domain's share of the rows, for all systems that are to be compared the same: of the options before ablations. */
export function stitchShares(values: {
  domain: Record<string, unknown>;
  weight: Record<string, number>;
  expert: Record<string, unknown>;
  ablate?: Ablation[] | undefined;
}): Record<string, number> {
  const upweighted = values.ablate?.includes('even-mixture') ? [] : Object.keys(values.expert);
  return mixtureShares(Object.keys(values.domain), values.weight, upweighted);
}
