import type { z } from 'zod';
import { choice, commaList } from '../../base/schema.js';
import type { stitchOptions } from '../../model/stitches/options.js';
import { mixtureShares } from './mixture-shares.js';

/** Which models are stitched, and how. */
interface StitchValues extends z.output<z.ZodObject<typeof stitchOptions>> {
  hub: string;
  expert: Record<string, string>;
}

/** What the paper takes away from BTS, or changes, to see what it was good for. */
const ABLATIONS = {
  'expert-as-hub': {
    says: 'the first expert is the hub, the seed one of the experts (Table 3)',
    changes: ({ hub, expert }: StitchValues) => ({ ...firstAsHub(expert), expert: { seed: hub, ...others(expert) } }),
  },
  'no-seed': {
    says: 'the first expert is the hub, the seed takes no part (Tables 4 and 7)',
    changes: ({ expert }: StitchValues) => ({ ...firstAsHub(expert), expert: others(expert) }),
  },
  'non-alternating': {
    says: 'all stitches lead into the hub (Tables 5 and 8)',
    changes: () => ({ alternate: false }),
  },
  'one-stitch': { says: '(Table 9)', changes: () => ({ stitches: 1 }) },
  'four-stitches': { says: '(Table 9)', changes: () => ({ stitches: 4 }) },
  'ten-stitches': { says: '(Table 9)', changes: () => ({ stitches: 10 }) },
  'even-mixture': {
    says: "experts' domains have no share of their own: all have the same (Table 10)",
    changes: () => ({}),
  },
  'scalar-gate': { says: 'one gate for the whole token', changes: () => ({ gate: 'scalar' }) },
  'low-rank': {
    says: 'projections and gates are products of rank 16, or of --rank',
    changes: ({ rank = 16 }: StitchValues) => ({ rank }),
  },
  'experts-unchanged': {
    says: 'behind a stitch into the hub experts go on with what they had',
    changes: () => ({ expertsAfterMerge: 'unchanged' }),
  },
  'hub-start': { says: 'at first the hub alone is heard', changes: () => ({ init: 'hub' }) },
} as const satisfies Record<string, { says: string; changes: (values: StitchValues) => Partial<StitchValues> }>;
export type Ablation = keyof typeof ABLATIONS;

const firstAsHub = (experts: Record<string, string>) => ({ hub: Object.values(experts)[0]! });
const others = (experts: Record<string, string>) => Object.fromEntries(Object.entries(experts).slice(1));

export const ablationOptions = {
  ablate: commaList(choice(Object.keys(ABLATIONS) as [Ablation, ...Ablation[]]))
    .optional()
    .meta({
      description: `Take something away, several with commas between: ${Object.entries(ABLATIONS)
        .map(([name, { says }]) => `${name}: ${says}`)
        .join('; ')}`,
      argument: 'names',
    }),
};

/** The options with the ablations in them put into effect. */
export function applyAblations<V extends StitchValues & { ablate?: Ablation[] | undefined }>(values: V): V {
  const changes = (values.ablate ?? []).map((name) => ABLATIONS[name].changes(values));
  return Object.assign({ ...values }, ...changes);
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
