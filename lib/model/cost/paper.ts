/** The models and the arithmetic of the paper (Branch-Train-Stitch, EMNLP 2025). */
import { llamaConfig } from '../../checkpoint/families/llama.js';
import type { System } from '../systems.js';

/**
 * Table 6. Its feed-forward width of 12,288 counts two of the three matrices of a gated layer one and a half times over:
 * only with two thirds of it do the seed's 2.7B parameters and Table 1 come out.
 */
export const PAPER_CONFIG = llamaConfig({
  vocabularySize: 128_000,
  width: 3072,
  layers: 20,
  feedForwardWidth: 8192,
  heads: 24,
  keyValueHeads: 1,
  maxPositions: 8192,
  theta: 500_000,
  dtype: 'BF16',
});

/** The seed and three experts, four stitches. */
export const PAPER_MEMBERS = 4;
export const PAPER_STITCHES = 4;

export interface PaperFigures {
  trained?: string;
  total?: string;
  active?: string;
  /** Why ours differs. */
  note?: string;
}

/** What Table 1 prints. */
export const PAPER_TABLE_1: Partial<Record<System, PaperFigures>> = {
  routing: {
    trained: '15k',
    note: 'A linear router from 3,072 channels to 4 members has 12,288 weights; 15k would be five outputs.',
  },
  'btx-sample': {
    total: '7.2B',
    active: '2.9B',
    note: 'One expert a token is as much as one dense model, and the routers. Here all are computed, the others with weight 0.',
  },
  'btx-soft': { trained: '7.2B', total: '7.2B' },
  bam: { trained: '8.4B', total: '8.4B' },
  'bam-adapters': { trained: '1.5B', total: '9.9B' },
  bts: {
    trained: '264,241,152',
    total: '11.0B',
    note: "Active leaves out what never runs: the experts' final norms and heads.",
  },
};

/** Sizes that the accounting of Tables 11 and 12 goes by. */
export interface PaperSegment {
  /** d_model */
  width: number;
  /** d_ff */
  feedForwardWidth: number;
  /** n_ctx */
  context: number;
  /** n_experts, counting the hub. */
  members: number;
  layers: number;
}

export const PAPER_SEGMENT: PaperSegment = {
  width: 3072,
  feedForwardWidth: 12_288,
  context: 8192,
  members: 4,
  layers: 5,
};

/** A row of a table of operations. */
export interface FlopsPart {
  part: string;
  flops: number;
}

const total = (parts: readonly FlopsPart[]) => parts.reduce((sum, { flops }) => sum + flops, 0);

/**
 * Operations per token as Tables 11 (BAM) and 12 (BTS) count them: every member's layers with full key/value widths and
 * attention over the whole context; 3 d_model d_ff for a feed-forward layer (60 d_model d_ff in all), which leaves out
 * the factor 2 that all other products have; a scalar gate, and a projection for the hub, too.
 */
export function paperFlops({ width: C, feedForwardWidth: F, context, members: M, layers }: PaperSegment) {
  const common: FlopsPart[] = [
    { part: 'query, key, value and output', flops: layers * M * 8 * C * C },
    { part: 'attention', flops: layers * M * 2 * context * C },
    { part: 'feed-forward', flops: layers * M * 3 * C * F },
  ];
  const bam = [...common, { part: 'routers', flops: layers * 2 * 2 * C * M }];
  const bts = [
    ...common,
    { part: 'projections of the stitch', flops: 2 * M * C * C },
    { part: 'gate of the stitch', flops: 2 * M * C },
  ];
  return { bam: { parts: bam, total: total(bam) }, bts: { parts: bts, total: total(bts) } };
}
