/** The layers of a transformer. Names and formulas are those of native/ops.h. */
import {
  type Arguments,
  build,
  evaluate,
  type Op,
  type Reference,
  type Round,
  sum,
  times,
  type Values,
} from './reference.js';
import { narrow } from './reference-halves.js';

type Sizes = [number, number, number, number, number];

const sigmoid = (r: Round, x: number) => r(1 / r(1 + r(Math.exp(-x))));

/** The integral of the normal density up to x: sums its series, which for such x needs no more terms. */
function normal(x: number): number {
  if (x < -9) return 0;
  if (x > 9) return 1;
  let [sum, term] = [x, x];
  for (let n = 3; Math.abs(term) > 1e-18 * Math.abs(sum); n += 2) sum += term *= (x * x) / n;
  return 0.5 + sum * density(x);
}
const density = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

/** Values and derivatives, in the steps in which one would compute them. */
const activations = {
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
const tanhOf = (r: Round, x: number) =>
  r(Math.tanh(r(r(Math.sqrt(2 / Math.PI)) * r(x + r(r(0.044715) * r(r(x * x) * x))))));

/** 1 / sqrt(mean(x^2) + epsilon) over the channels: [M, N]. */
function inverseRms(r: Round, x: Values, epsilon: number): Values {
  const [M, N, C] = x.shape as Sizes;
  return evaluate([M, N], (m, n) => {
    const squares = sum(r, C, (c) => r(x.at(m!, n, c) * x.at(m!, n, c)));
    return r(1 / r(Math.sqrt(r(r(squares / C) + epsilon))));
  });
}

/** c tanh(x / c) */
export const capped = (r: Round, x: number, c: number) => r(r(c) * r(Math.tanh(r(x / r(c)))));
/** Its derivative, of its value. */
function capSlope(r: Round, y: number, c: number): number {
  const share = r(y / r(c));
  return r(1 - r(share * share));
}

interface Row {
  /** The first key that the query sees. */
  first: number;
  /** Softmax over the keys from `first` on. */
  p: number[];
  lse: number;
}

type Scored = Pick<Arguments<'attention_forward'>, 'q' | 'k' | 'scale' | 'softcap'>;

/** scale q . k of the query at [m, b, t, h] and key j of its head's group, capped. */
function score(r: Round, { q, k, scale, softcap }: Scored, [m, b, t, h]: readonly number[], j: number): number {
  const [, , , H, D] = q.shape as Sizes;
  const head = Math.floor(h! / (H / k.shape[3]!));
  const plain = r(sum(r, D, (d) => r(q.at(m!, b, t, h, d) * k.at(m!, b, j, head, d))) * r(scale));
  return softcap > 0 ? capped(r, plain, softcap) : plain;
}

/** The probabilities of the query at [m, b, t, h]. */
function attend(r: Round, args: Arguments<'attention_forward'>, index: readonly number[]): Row {
  const { starts, window } = args;
  const position = (starts?.at(index[1]!) ?? 0) + index[2]!;
  const first = window > 0 ? Math.max(0, position - window + 1) : 0;
  const scores = Array.from({ length: position + 1 - first }, (_, j) => score(r, args, index, first + j));
  const top = Math.max(...scores);
  const terms = scores.map((x) => r(Math.exp(r(x - top))));
  const total = sum(r, terms.length, (j) => terms[j]!);
  return { first, p: terms.map((term) => r(term / total)), lse: r(top + r(Math.log(total))) };
}

/** Probabilities of one row of logits and the log of their sum. */
function softmax(r: Round, logits: Values, n: number): { p: number[]; lse: number } {
  const V = logits.shape[1]!;
  const row = Array.from({ length: V }, (_, v) => logits.at(n, v));
  const top = row.reduce((best, x) => Math.max(best, x), Number.NEGATIVE_INFINITY);
  const terms = row.map((x) => r(Math.exp(r(x - top))));
  const total = sum(r, V, (v) => terms[v]!);
  return { p: terms.map((term) => r(term / total)), lse: r(top + r(Math.log(total))) };
}

type Transformer = Extract<
  Op,
  | `embedding_${string}`
  | `linear_${string}`
  | `rms_norm_${string}`
  | 'rope'
  | `attention_${string}`
  | 'cache_append'
  | `swiglu_${string}`
  | `cross_entropy_${string}`
>;

export const transformer: { [O in Transformer]: Reference<O> } = {
  embedding_forward: ({ y, table, ids, scale }, r) => ({
    y: build(y.shape, (m, n, c) => r(narrow(scale, y.dtype) * table[m!]!.at(ids.at(n!), c))),
  }),

  embedding_backward: ({ dtable, dy, ids, scale }, r) => ({
    dtable: dtable.map((table, m) => {
      const result = table.data.slice();
      const [, N, C] = dy.shape as Sizes;
      for (let n = 0; n < N; n++)
        for (let c = 0; c < C; c++) {
          const at = ids.at(n) * C + c;
          result[at] = r(result[at]! + r(narrow(scale, dy.dtype) * dy.at(m, n, c)));
        }
      return result;
    }),
  }),

  linear_forward: ({ y, x, weight, bias, residual }, r) => ({
    y: build(y.shape, (m, n, o) => {
      const product = sum(r, x.shape[2]!, (i) => times(r, x.at(m!, n, i), weight[m!]!.at(o!, i)));
      const biased = bias ? r(product + bias[m!]!.at(o!)) : product;
      return residual ? r(biased + residual.at(m!, n, o)) : biased;
    }),
  }),

  linear_backward_input: ({ dx, dy, weight, accumulate }, r) => ({
    dx: build(dx.shape, (m, n, i) => {
      const product = sum(r, dy.shape[2]!, (o) => times(r, dy.at(m!, n, o), weight[m!]!.at(o, i)));
      return accumulate ? r(dx.at(m!, n, i) + product) : product;
    }),
  }),

  linear_backward_weight: ({ dweight, dbias, dy, x }, r) => {
    const N = x.shape[1]!;
    return {
      dweight: dweight.map((dw, m) =>
        build(dw.shape, (o, i) => r(dw.at(o!, i) + sum(r, N, (n) => times(r, dy.at(m, n, o), x.at(m, n, i))))),
      ),
      ...(dbias && {
        dbias: dbias.map((db, m) => build(db.shape, (o) => r(db.at(o!) + sum(r, N, (n) => dy.at(m, n, o))))),
      }),
    };
  },

  rms_norm_forward: ({ y, x, weight, residual, epsilon, offset }, r) => {
    const inverse = inverseRms(r, x, epsilon);
    return {
      y: build(y.shape, (m, n, c) => {
        const normed = r(r(x.at(m!, n, c) * inverse.at(m!, n)) * r(offset + weight[m!]!.at(c!)));
        return residual ? r(normed + residual.at(m!, n, c)) : normed;
      }),
    };
  },

  rms_norm_backward_input: ({ dx, dy, x, weight, epsilon, offset, accumulate }, r) => {
    const [M, N, C] = x.shape as Sizes;
    const inverse = inverseRms(r, x, epsilon);
    const scaled = (m: number, n: number, c: number) => r(dy.at(m, n, c) * r(offset + weight[m]!.at(c)));
    const mean = evaluate([M, N], (m, n) => r(sum(r, C, (c) => r(scaled(m!, n!, c) * x.at(m!, n, c))) / C));
    return {
      dx: build(dx.shape, (m, n, c) => {
        const factor = inverse.at(m!, n);
        const along = r(r(x.at(m!, n, c) * r(factor * factor)) * mean.at(m!, n));
        const result = r(factor * r(scaled(m!, n!, c!) - along));
        return accumulate ? r(dx.at(m!, n, c) + result) : result;
      }),
    };
  },

  rms_norm_backward_weight: ({ dweight, dy, x, epsilon }, r) => {
    const inverse = inverseRms(r, x, epsilon);
    return {
      dweight: dweight.map((dw, m) =>
        build(dw.shape, (c) =>
          r(dw.at(c!) + sum(r, x.shape[1]!, (n) => r(r(dy.at(m, n, c) * x.at(m, n, c)) * inverse.at(m, n)))),
        ),
      ),
    };
  },

  rope: ({ y, x, table, starts, inverse }, r) => {
    const half = table[0]!.shape[1]! / 2;
    return {
      y: build(y.shape, (m, b, t, h, d) => {
        if (d! >= 2 * half) return x.at(m!, b, t, h, d);
        const position = (starts?.at(b!) ?? 0) + t!;
        const pair = d! % half;
        const cosine = table[m!]!.at(position, pair);
        const sine = (inverse ? -1 : 1) * table[m!]!.at(position, half + pair);
        const [low, high] = [x.at(m!, b, t, h, pair), x.at(m!, b, t, h, half + pair)];
        return d! < half ? r(r(low * cosine) - r(high * sine)) : r(r(high * cosine) + r(low * sine));
      }),
    };
  },

  attention_forward: (args, r) => {
    const { out, lse, q, k, v } = args;
    const [M, B, T, H] = q.shape as Sizes;
    const group = H / k.shape[3]!;
    const rows = new Map<string, Row>();
    build([M, B, T, H], (...index) => {
      rows.set(index.join(), attend(r, args, index));
      return 0;
    });
    return {
      out: build(out.shape, (m, b, t, h, d) => {
        const { first, p } = rows.get([m, b, t, h].join())!;
        const head = Math.floor(h! / group);
        return sum(r, p.length, (j) => r(r.stored(p[j]!) * v.at(m!, b, first + j, head, d)));
      }),
      ...(lse && { lse: build(lse.shape, (m, b, h, t) => rows.get([m, b, t, h].join())!.lse) }),
    };
  },

  // forward: out = p v, p = softmax(s), s = capped(scale q k^T); lse is the log of the softmax's sum.
  attention_backward: (args, r) => {
    const { dq, dk, dv, dout, out, lse, q, k, v, window, softcap } = args;
    const [M, B, T, H, D] = q.shape as Sizes;
    const K = k.shape[3]!;
    const scale = r(args.scale);
    const gradients = { dq: dq.data.slice().fill(0), dk: dk.data.slice().fill(0), dv: dv.data.slice().fill(0) };
    const add = (to: Float64Array, at: number, x: number) => {
      to[at] = r(to[at]! + x);
    };
    build([M, B, T, H], (...index) => {
      const [m, b, t, h] = index as [number, number, number, number];
      const head = Math.floor(h / (H / K));
      const query = (((m * B + b) * T + t) * H + h) * D;
      // The mean of dp under p, by way of the output: sum over j of p_j (dout . v_j).
      const mean = sum(r, D, (d) => r(dout.at(m, b, t, h, d) * out.at(m, b, t, h, d)));
      for (let j = window > 0 ? Math.max(0, t - window + 1) : 0; j <= t; j++) {
        const key = (((m * B + b) * T + j) * K + head) * D;
        const s = score(r, args, index, j);
        const p = r(Math.exp(r(s - lse.at(m, b, h, t))));
        const dp = sum(r, D, (d) => r(dout.at(m, b, t, h, d) * v.at(m, b, j, head, d)));
        const steep = softcap > 0 ? r(scale * capSlope(r, s, softcap)) : scale;
        const ds = r.stored(r(r(p * r(dp - mean)) * steep));
        for (let d = 0; d < D; d++) {
          add(gradients.dv, key + d, r(r.stored(p) * dout.at(m, b, t, h, d)));
          add(gradients.dq, query + d, r(ds * k.at(m, b, j, head, d)));
          add(gradients.dk, key + d, r(ds * q.at(m, b, t, h, d)));
        }
      }
      return 0;
    });
    return gradients;
  },

  cache_append: ({ cache, x, starts }) => ({
    cache: build(cache.shape, (m, b, s, k, d) => {
      const t = s! - starts.at(b!);
      return t >= 0 && t < x.shape[2]! ? x.at(m!, b, t, k, d) : cache.at(m!, b, s, k, d);
    }),
  }),

  swiglu_forward: ({ y, gate, up, activation }, r) => ({
    y: build(y.shape, (m, n, f) => r(activations[activation].value(r, gate.at(m!, n, f)) * up.at(m!, n, f))),
  }),

  swiglu_backward: ({ dgate, dup, dy, gate, up, activation }, r) => ({
    dgate: build(dgate.shape, (m, n, f) => {
      const slope = activations[activation].slope(r, gate.at(m!, n, f));
      return r(r(dy.at(m!, n, f) * up.at(m!, n, f)) * slope);
    }),
    dup: build(dup.shape, (m, n, f) => r(dy.at(m!, n, f) * activations[activation].value(r, gate.at(m!, n, f)))),
  }),

  swiglu_linear: ({ y, x, gate, up, gateBias, upBias, activation }, r) => ({
    y: build(y.shape, (m, n, f) => {
      const product = (weight: Values, bias?: Values) => {
        const z = sum(r, x.shape[2]!, (c) => times(r, x.at(m!, n, c), weight.at(f!, c)));
        return bias ? r(z + bias.at(f!)) : z;
      };
      const g = product(gate[m!]!, gateBias?.[m!]);
      return r(activations[activation].value(r, g) * product(up[m!]!, upBias?.[m!]));
    }),
  }),

  cross_entropy_forward: ({ losses, logits, targets }, r) => ({
    losses: build(losses.shape, (n) => {
      const target = targets.at(n!);
      return target < 0 ? 0 : r(softmax(r, logits, n!).lse - logits.at(n!, target));
    }),
  }),

  cross_entropy_backward: ({ dlogits, dlosses, logits, targets, softcap }, r) => {
    const rows = Array.from({ length: dlogits.shape[0]! }, (_, n) => softmax(r, logits, n).p);
    return {
      dlogits: build(dlogits.shape, (n, v) => {
        const target = targets.at(n!);
        if (target < 0) return 0;
        const d = r(dlosses.at(n!) * r(rows[n!]![v!]! - (v === target ? 1 : 0)));
        return softcap > 0 ? r(d * capSlope(r, logits.at(n!, v!), softcap)) : d;
      }),
    };
  },
};
