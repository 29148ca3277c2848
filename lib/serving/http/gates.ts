import type { GeneratedToken } from '../../model/decoding/generation.js';
import type { TokenGates } from '../../model/stitches/gate-log.js';
import type { Metrics } from './metrics.js';

/** What a choice tells of gates where they were asked for. */
export interface ToldGates {
  /** One for each token of the answer that was told: those at the token before it, where it was chosen. */
  gates?: readonly TokenGates[];
  /** One for each token of the prompt but its first. */
  prompt_gates?: readonly TokenGates[];
}

export const gatesOf = ({ gates, promptGates }: GeneratedToken): ToldGates => ({
  ...(gates && { gates: [gates] }),
  ...(promptGates && { prompt_gates: promptGates }),
});

/** Of several parts of one choice. */
export function joinGates(parts: readonly ToldGates[]): ToldGates {
  const gates = parts.flatMap(({ gates = [] }) => gates);
  const prompt = parts.find(({ prompt_gates }) => prompt_gates)?.prompt_gates;
  return { ...(gates.length > 0 && { gates }), ...(prompt && { prompt_gates: prompt }) };
}

/** Counts what a part of a choice tells of gates: their sums over the number of tokens are means. */
export function countGates(metrics: Metrics, model: string, { gates = [] }: ToldGates): void {
  for (const { members, stitches } of gates) {
    metrics.add('bts_gated_tokens_total', 'Tokens of answers whose gates were told.', { model });
    for (const { placement, mean } of stitches) {
      for (const [m, member] of members.entries()) {
        const labels = { model, stitch: `${placement.kind} ${placement.afterLayer}`, member };
        metrics.add('bts_gates_total', 'Sums over these tokens of gates, means over channels.', labels, mean[m]);
      }
    }
  }
}
