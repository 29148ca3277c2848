import { type Case, call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { Values } from '../support/reference.js';

const f = Math.fround;
// Small and large arrays side by side.
const shapes = [[3, 5], [1], [0], [20000], [31]];

const scalar = (x: number) => new Values([1], Float64Array.of(x), 'f32');

interface Update {
  step: number;
  clipNorm: number;
  norm: number;
  weightDecay: number;
}

const update = ({ step, clipNorm, norm, weightDecay }: Update): Case =>
  call('adamw', `step=${step} clipNorm=${clipNorm} norm=${norm} weightDecay=${weightDecay}`, (draw) => ({
    parameters: shapes.map((shape) => draw.f32(shape)),
    gradients: shapes.map((shape) => draw.f32(shape)),
    firstMoments: shapes.map((shape) => draw.f32(shape, 0.1)),
    secondMoments: shapes.map((shape) => {
      const { data } = draw.f32(shape);
      return new Values(
        shape,
        data.map((x) => f(x * x)),
        'f32',
      );
    }),
    norm: scalar(norm),
    learningRate: f(0.01),
    beta1: f(0.9),
    beta2: f(0.95),
    epsilon: f(1e-8),
    weightDecay: f(weightDecay),
    clipNorm,
    step,
  }));

const cases: Case[] = [
  update({ step: 1, clipNorm: Number.POSITIVE_INFINITY, norm: 140, weightDecay: 0 }),
  update({ step: 2, clipNorm: 1, norm: 140, weightDecay: 0.1 }),
  update({ step: 1000, clipNorm: 1, norm: 0.5, weightDecay: 0.1 }),
  update({ step: 100000, clipNorm: 10, norm: 20, weightDecay: 0.1 }),
  // A gradient that is not finite changes nothing.
  update({ step: 1, clipNorm: 1, norm: Number.NaN, weightDecay: 0.1 }),
  update({ step: 1, clipNorm: 1, norm: Number.POSITIVE_INFINITY, weightDecay: 0.1 }),
];

export const adamw: OpTest = {
  references: {
    adamw: (args, r) => {
      const { parameters, gradients, firstMoments, secondMoments, norm, learningRate, step } = args;
      const { beta1, beta2, epsilon, weightDecay, clipNorm } = args;
      if (!Number.isFinite(norm.at(0))) return {};
      const clip = Math.min(1, r(clipNorm / r(norm.at(0) + 1e-6)));
      const average = (old: number, now: number, beta: number) => r(r(beta * old) + r(r(1 - beta) * now));
      const each = (f: (array: number, i: number) => number) =>
        parameters.map(({ data }, array) => data.map((_, i) => f(array, i)));
      const g = (array: number, i: number) => r(clip * gradients[array]!.data[i]!);
      const m = each((array, i) => average(firstMoments[array]!.data[i]!, g(array, i), beta1));
      const v = each((array, i) => average(secondMoments[array]!.data[i]!, r(g(array, i) * g(array, i)), beta2));
      // The moments start at zero; dividing by what their weights sum to makes up for it.
      const unbiased = (moment: number, beta: number) => r(moment / r(1 - r(beta ** step)));
      return {
        firstMoments: m,
        secondMoments: v,
        parameters: each((array, i) => {
          const p = parameters[array]!.data[i]!;
          const root = r(Math.sqrt(unbiased(v[array]![i]!, beta2)));
          const update = r(unbiased(m[array]![i]!, beta1) / r(root + epsilon));
          return r(r(p - r(r(learningRate * weightDecay) * p)) - r(learningRate * update));
        }),
      };
    },
  },
  cases,
  large: cases,
};
