/** The systems of the paper's Table 2, in its order. */
export const SYSTEMS = [
  'seed',
  'data-matched',
  'soup',
  'btm',
  'routing',
  'btx-sample',
  'btx-soft',
  'bam',
  'bam-adapters',
  'bts',
] as const;
/** BTS, and what the paper compares it with. */
export type System = (typeof SYSTEMS)[number];

/** What the paper calls them. */
export const SYSTEM_TITLES: Record<System, string> = {
  seed: 'Seed',
  'data-matched': 'Seed, data-matched',
  soup: 'Model Soup',
  btm: 'BTM',
  routing: 'Expert Routing',
  'btx-sample': 'BTX Sample',
  'btx-soft': 'BTX Soft',
  bam: 'BAM',
  'bam-adapters': 'BAM Adapters',
  bts: 'BTS',
};
