/** Elementwise ops, sums and the optimizer. Names and formulas are those of native/ops.h. */
import { build, exact, type Op, type Reference, single, sum } from './reference.js';
import { narrow } from './reference-halves.js';
import { dropoutFactor, randomWord } from './reference-random.js';
import { capped } from './reference-transformer.js';

type Elementwise = Exclude<
  Op,
  | `embedding_${string}`
  | `linear_${string}`
  | `rms_norm_${string}`
  | 'rope'
  | `attention_${string}`
  | 'cache_append'
  | `swiglu_${string}`
  | `cross_entropy_${string}`
  | `experts_into_hub_${string}`
  | `hub_into_experts_${string}`
  | `mix_${string}`
  | 'sample'
>;

export const elementwise: { [O in Elementwise]: Reference<O> } = {
  fill: ({ y, value }) => ({ y: y.data.map(() => single(value)) }),

  // Box and Muller: two deviates of two words, in f64.
  fill_normal: ({ y, deviation, seed }) => ({
    y: y.data.map((_, i) => {
      const pair = i - (i % 2);
      const radius = deviation * Math.sqrt(-2 * Math.log((randomWord(seed, pair) + 1) / 2 ** 32));
      const angle = (2 * Math.PI * randomWord(seed, pair + 1)) / 2 ** 32;
      return radius * (i % 2 ? Math.sin(angle) : Math.cos(angle));
    }),
  }),

  softcap: ({ x, cap }, r) => ({ y: x.data.map((value) => capped(r, value, cap)) }),

  add: ({ y, a, b }, r) => ({ y: y.data.map((_, i) => r(a.data[i]! + b.data[i]!)) }),

  dropout: ({ y, x, rate, seed }, r) => ({
    y: y.data.map((_, i) => r(x.data[i]! * dropoutFactor(r, rate, seed, i))),
  }),

  convert: ({ y, x }) => ({ y: x.data.map((value) => narrow(value, y.dtype)) }),

  gather_rows: ({ y, x, rows }) => ({ y: build(y.shape, (n, c) => x.at(rows.at(n!), c)) }),

  // In f64, so that no rounding is allowed but the last.
  sum_forward: ({ x, scale }, r) => ({
    y: Float64Array.of(r(scale * sum(exact, x.data.length, (i) => x.data[i]!))),
  }),

  sum_backward: ({ dx, dy, scale }, r) => ({ dx: dx.data.map(() => r(scale * dy.at(0))) }),

  global_norm: ({ gradients }, r) => {
    const squares = gradients.map(({ data }) => sum(exact, data.length, (i) => data[i]! ** 2));
    return { norm: Float64Array.of(r(Math.sqrt(sum(exact, squares.length, (i) => squares[i]!)))) };
  },

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
};
