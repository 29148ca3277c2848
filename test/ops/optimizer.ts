import { blank, Values } from '../support/reference.js';
import { type Case, call } from '../support/reference-case.js';

const f = Math.fround;
// Small and large arrays side by side.
const shapes = [[3, 5], [1], [0], [20000], [31]];

const scalar = (x: number) => new Values([1], Float64Array.of(x));

interface Update {
  step: number;
  clipNorm: number;
  norm: number;
  weightDecay: number;
}

const update = ({ step, clipNorm, norm, weightDecay }: Update): Case =>
  call('adamw', `step=${step} clipNorm=${clipNorm} norm=${norm} weightDecay=${weightDecay}`, (draw) => ({
    parameters: shapes.map((shape) => draw.normal(shape)),
    gradients: shapes.map((shape) => draw.normal(shape)),
    firstMoments: shapes.map((shape) => draw.normal(shape, 0.1)),
    secondMoments: shapes.map((shape) => {
      const { data } = draw.normal(shape);
      return new Values(
        shape,
        data.map((x) => f(x * x)),
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

export const optimizer: Case[] = [
  call('global_norm', 'several', (draw) => ({
    norm: blank([1]),
    gradients: shapes.map((shape) => draw.normal(shape)),
  })),
  call('global_norm', 'large values', (draw) => ({ norm: blank([1]), gradients: [draw.normal([33], 1e30)] })),
  call('global_norm', 'none', () => ({ norm: blank([1]), gradients: [] })),
  call('global_norm', 'NaN', () => ({
    norm: blank([1]),
    gradients: [new Values([3], Float64Array.of(1, Number.NaN, 2))],
  })),
  update({ step: 1, clipNorm: Number.POSITIVE_INFINITY, norm: 140, weightDecay: 0 }),
  update({ step: 2, clipNorm: 1, norm: 140, weightDecay: 0.1 }),
  update({ step: 1000, clipNorm: 1, norm: 0.5, weightDecay: 0.1 }),
  update({ step: 100000, clipNorm: 10, norm: 20, weightDecay: 0.1 }),
  // A gradient that is not finite changes nothing.
  update({ step: 1, clipNorm: 1, norm: Number.NaN, weightDecay: 0.1 }),
  update({ step: 1, clipNorm: 1, norm: Number.POSITIVE_INFINITY, weightDecay: 0.1 }),
];
