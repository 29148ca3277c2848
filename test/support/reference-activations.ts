/** Activations of gated feed-forward layers and their derivatives, in the steps in which one would compute them. */
import type { Round } from './reference.js';

const sigmoid = (r: Round, x: number) => r(1 / r(1 + r(Math.exp(-x))));

const density = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

/** The integral of the normal density up to x: sums its series, which for such x needs no more terms. */
function normal(x: number): number {
  if (x < -9) return 0;
  if (x > 9) return 1;
  let [sum, term] = [x, x];
  for (let n = 3; Math.abs(term) > 1e-18 * Math.abs(sum); n += 2) sum += term *= (x * x) / n;
  return 0.5 + sum * density(x);
}

const tanhOf = (r: Round, x: number) =>
  r(Math.tanh(r(r(Math.sqrt(2 / Math.PI)) * r(x + r(r(0.044715) * r(r(x * x) * x))))));

export const activations = {
  silu: {
    value: (r: Round, x: number) => r(x / r(1 + r(Math.exp(-x)))),
    slope: (r: Round, x: number) => {
      const s = sigmoid(r, x);
      return r(s + r(x * r(s * r(1 - s))));
    },
  },
  gelu: {
    value: (r: Round, x: number) => r(x * r(normal(x))),
    slope: (r: Round, x: number) => r(r(normal(x)) + r(x * r(density(x)))),
  },
  geluTanh: {
    value: (r: Round, x: number) => r(r(0.5 * x) * r(1 + tanhOf(r, x))),
    slope: (r: Round, x: number) => {
      const t = tanhOf(r, x);
      const du = r(r(Math.sqrt(2 / Math.PI)) * r(1 + r(r(3 * 0.044715) * r(x * x))));
      return r(r(0.5 * r(1 + t)) + r(r(r(0.5 * x) * r(1 - r(t * t))) * du));
    },
  },
};
