/** What defines the mixtures of experts: BTX (Sukhbaatar et al. 2024) and BAM (Zhang et al. 2024). */
import { type ParameterSpec, rolesOf } from '../../checkpoint/names.js';
import type { System } from '../systems.js';

/** Which parts of a layer are experts in a mixture; everything else is the mean of the members'. */
export type ExpertPart = 'attention' | 'feedForward';

const ATTENTION = new Set(['query', 'key', 'value', 'output', 'queryNorm', 'keyNorm']);
const FEED_FORWARD = new Set(['gate', 'up', 'down']);

/** Whose experts a parameter belongs to; undefined for one that is averaged. */
export function expertPart(spec: Pick<ParameterSpec, 'parts'>): ExpertPart | undefined {
  // What is stored together belongs together.
  const weight = rolesOf(spec)[0]!.replace(/Bias$/, '');
  if (ATTENTION.has(weight)) return 'attention';
  return FEED_FORWARD.has(weight) ? 'feedForward' : undefined;
}

/** What sets the mixtures apart. */
export interface MixtureShape {
  experts: readonly ExpertPart[];
  /** The experts are frozen, and a C x C matrix on each one's output is trained in their place (BAM's equation 3). */
  adapters: boolean;
}

export const MIXTURES = {
  'btx-sample': { experts: ['feedForward'], adapters: false },
  'btx-soft': { experts: ['feedForward'], adapters: false },
  bam: { experts: ['attention', 'feedForward'], adapters: false },
  'bam-adapters': { experts: ['attention', 'feedForward'], adapters: true },
} as const satisfies Partial<Record<System, MixtureShape>>;
/** A mixture of experts that the paper compares with. */
export type MixtureSystem = keyof typeof MIXTURES;
