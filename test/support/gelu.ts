import type { Round } from './reference.js';

/** The error function, by its series and, where that is long, its continued fraction (Abramowitz & Stegun 7.1.6, 7.1.14). */
export function erf(x: number): number {
  if (Number.isNaN(x)) return x;
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let [term, sum] = [a, a];
    for (let n = 1; Math.abs(term) > 1e-18 * sum; n++) {
      term *= (2 * a * a) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
  }
  let fraction = a;
  for (let n = 60; n > 0; n--) fraction = a + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / fraction);
}

/** GELU and its derivative at x, in either form of native/ops/gelu.h. */
export function gelu(r: Round, x: number, tanh: boolean): { value: number; slope: number } {
  if (tanh) {
    const factor = r(Math.sqrt(2 / Math.PI));
    const cubic = r(0.044715 * r(r(x * x) * x));
    const t = r(Math.tanh(r(factor * r(x + cubic))));
    const half = r(0.5 * r(1 + t));
    const inner = r(factor * r(1 + r(3 * 0.044715 * r(x * x))));
    return { value: r(x * half), slope: r(half + r(r(r(0.5 * x) * r(1 - r(t * t))) * inner)) };
  }
  const below = r(0.5 * r(1 + r(erf(r(x * r(Math.SQRT1_2))))));
  const density = r(r(1 / Math.sqrt(2 * Math.PI)) * r(Math.exp(r(-0.5 * r(x * x)))));
  return { value: r(x * below), slope: r(below + r(x * density)) };
}
