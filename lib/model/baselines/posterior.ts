import { logSumExp } from '../../base/log-sum-exp.js';

/**
 * Which of several models a sequence comes from, by Bayes' rule with a uniform prior: the posterior after some tokens
 * weighs each model by the probability that it gave to them.
 */
export class Posterior {
  /** Up to a constant. */
  private readonly logWeights: Float64Array;

  constructor(models: number) {
    this.logWeights = new Float64Array(models);
  }

  /** A copy that goes on by itself. */
  clone(): Posterior {
    const copy = new Posterior(this.logWeights.length);
    copy.logWeights.set(this.logWeights);
    return copy;
  }

  /** Takes in the loss (negative log-probability) of the next token under each model. */
  observe(losses: ArrayLike<number>): void {
    for (let m = 0; m < this.logWeights.length; m++) this.logWeights[m]! -= losses[m]!;
    // What counts is the difference; sums of thousands of tokens would lose digits.
    const top = Math.max(...this.logWeights);
    for (let m = 0; m < this.logWeights.length; m++) this.logWeights[m]! -= top;
  }

  /** The logarithm of each model's posterior probability. */
  get logProbabilities(): Float64Array {
    const total = logSumExp(this.logWeights);
    return this.logWeights.map((weight) => weight - total);
  }

  /** The loss of a token under the ensemble, given its loss under each model. */
  loss(losses: ArrayLike<number>): number {
    return -logSumExp(this.logProbabilities.map((weight, m) => weight - losses[m]!));
  }

  /** Log-probabilities of the ensemble's next token, [V], from each model's logits. */
  nextToken(logits: readonly Float32Array[]): Float32Array {
    const offsets = this.logProbabilities.map((weight, m) => weight - logSumExp(logits[m]!));
    const terms = new Float64Array(logits.length);
    return logits[0]!.map((_, v) => {
      for (let m = 0; m < terms.length; m++) terms[m] = offsets[m]! + logits[m]![v]!;
      return logSumExp(terms);
    });
  }
}
