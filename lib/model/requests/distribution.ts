import { BtsError } from '../../base/errors.js';
import type { ContinuationScore } from './request.js';

/** What a model expects to come next, from logits [V]. */
export class Distribution {
  private readonly top: number;
  private readonly logSum: number;

  constructor(private readonly logits: Float32Array) {
    let top = Number.NEGATIVE_INFINITY;
    for (let id = 0; id < logits.length; id++) top = Math.max(top, logits[id]!);
    let sum = 0;
    for (let id = 0; id < logits.length; id++) sum += Math.exp(logits[id]! - top);
    this.top = top;
    this.logSum = top + Math.log(sum);
    if (!Number.isFinite(this.logSum)) {
      throw new BtsError('LOSS_NOT_FINITE', 'the model computed logits that are not numbers: its weights are damaged.');
    }
  }

  score(token: number): ContinuationScore {
    const logit = this.logits[token]!;
    // As in lm-eval, the first of equal tokens is the likeliest.
    return {
      logProbability: logit - this.logSum,
      isGreedy: logit === this.top && this.logits.indexOf(this.top) === token,
    };
  }
}
