import { logSumExp } from '../../base/log-sum-exp.js';

/** A token in a place, and how likely it is there. */
export interface TokenLogProbability {
  /** In the vocabulary. */
  id: number;
  /** The natural logarithm of its probability. */
  logProbability: number;
}

/** What a model gave the tokens that could come next. */
export interface LogProbabilities {
  /** Of the token asked about, the natural logarithm of its probability. */
  logProbability: number;
  /** The likeliest tokens, the likeliest first; of equals the lowest ids. */
  topLogProbabilities: TokenLogProbability[];
}

/** The log-probability of a token and the `count` likeliest, from logits [V]. */
export function logProbabilities(logits: Float32Array, id: number, count: number): LogProbabilities {
  const total = logSumExp(logits);
  const top = largest(logits, count).map((id) => ({ id, logProbability: logits[id]! - total }));
  return { logProbability: logits[id]! - total, topLogProbabilities: top };
}

/** Where the `count` largest stand, the largest first, of equals the first. */
function largest(values: Float32Array, count: number): number[] {
  const found: number[] = [];
  for (const [i, value] of values.entries()) {
    if (found.length === count && !(value > values[found.at(-1)!]!)) continue;
    let place = found.length;
    while (place > 0 && value > values[found[place - 1]!]!) place--;
    found.splice(place, 0, i);
    if (found.length > count) found.pop();
  }
  return found;
}
