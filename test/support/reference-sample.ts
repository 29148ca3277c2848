/** Drawing tokens, by the formula of native/ops.h. */
import type { Reference, Values } from './reference.js';

function scoresOf(logits: Values, seen: Values | undefined, n: number, penalty: number): number[] {
  const [, V = 0] = logits.shape;
  const tokens = Array.from({ length: seen?.shape[1] ?? 0 }, (_, i) => seen!.at(n, i));
  return Array.from({ length: V }, (_, id) => {
    const score = logits.at(n, id);
    return tokens.includes(id) ? Math.fround(score * (score > 0 ? 1 / penalty : penalty)) : score;
  });
}

function drawn(scores: readonly number[], options: Float64Array): number {
  const [temperature, topK, topP, minP, , uniform] = options as unknown as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (scores.some(Number.isNaN) || !Number.isFinite(Math.max(...scores))) return -1;
  const order = scores.map((_, id) => id).sort((a, b) => (scores[b] === scores[a] ? a - b : scores[b]! - scores[a]!));
  if (temperature === 0) return order[0]!;
  const weight = (id: number) => Math.exp((scores[id]! - scores[order[0]!]!) / temperature);
  /** How many of these tokens it takes until their weights sum to what is enough. */
  const countUntil = (ids: readonly number[], isEnough: (sum: number) => boolean) => {
    let sum = 0;
    const at = ids.findIndex((id) => {
      sum += weight(id);
      return isEnough(sum);
    });
    return at < 0 ? ids.length : at + 1;
  };
  const total = (ids: readonly number[]) => ids.reduce((sum, id) => sum + weight(id), 0);
  let kept = topK > 0 ? order.slice(0, topK) : order;
  const mass = total(kept);
  if (topP < 1)
    kept = kept.slice(
      0,
      countUntil(kept, (sum) => sum >= topP * mass),
    );
  kept = kept.filter((id) => weight(id) >= minP).sort((a, b) => a - b);
  const target = uniform * total(kept);
  return kept[countUntil(kept, (sum) => sum > target) - 1]!;
}

/** A token is right or wrong: there is no rounding. */
export const sampling: { sample: Reference<'sample'> } = {
  sample: ({ logits, seen, draws }) => ({
    ids: Float64Array.from({ length: logits.shape[0]! }, (_, n) => {
      const options = draws.subarray(6 * n, 6 * n + 6);
      return drawn(scoresOf(logits, seen ?? undefined, n, options[4]!), options);
    }),
  }),
};
