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

type Sizes = [number, number, number, number, number];

const sigmoid = (r: Round, x: number) => r(1 / r(1 + r(Math.exp(-x))));

/** 1 / sqrt(mean(x^2) + epsilon) over the channels: [M, N]. */
function inverseRms(r: Round, x: Values, epsilon: number): Values {
  const [M, N, C] = x.shape as Sizes;
  return evaluate([M, N], (m, n) => {
    const squares = sum(r, C, (c) => r(x.at(m!, n, c) * x.at(m!, n, c)));
    return r(1 / r(Math.sqrt(r(r(squares / C) + epsilon))));
  });
}

interface Row {
  /** The first key that the query sees. */
  first: number;
  /** Softmax over the keys from `first` on. */
  p: number[];
  lse: number;
}

/** q . k / sqrt(D) of the query at [m, b, t, h] and key j of its head's group. */
function score(r: Round, q: Values, k: Values, [m, b, t, h]: readonly number[], j: number): number {
  const [, , , H, D] = q.shape as Sizes;
  const head = Math.floor(h! / (H / k.shape[3]!));
  return r(sum(r, D, (d) => r(q.at(m!, b, t, h, d) * k.at(m!, b, j, head, d))) * r(1 / r(Math.sqrt(D))));
}

/** The probabilities of the query at [m, b, t, h]. */
function attend(r: Round, { q, k, starts, window }: Arguments<'attention_forward'>, index: readonly number[]): Row {
  const position = (starts?.at(index[1]!) ?? 0) + index[2]!;
  const first = window > 0 ? Math.max(0, position - window + 1) : 0;
  const scores = Array.from({ length: position + 1 - first }, (_, j) => score(r, q, k, index, first + j));
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
  embedding_forward: ({ y, table, ids }) => ({
    y: build(y.shape, (m, n, c) => table[m!]!.at(ids.at(n!), c)),
  }),

  embedding_backward: ({ dtable, dy, ids }, r) => ({
    dtable: dtable.map((table, m) => {
      const result = table.data.slice();
      const [, N, C] = dy.shape as Sizes;
      for (let n = 0; n < N; n++)
        for (let c = 0; c < C; c++) {
          const at = ids.at(n) * C + c;
          result[at] = r(result[at]! + dy.at(m, n, c));
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

  rms_norm_forward: ({ y, x, weight, epsilon }, r) => {
    const inverse = inverseRms(r, x, epsilon);
    return { y: build(y.shape, (m, n, c) => r(r(x.at(m!, n, c) * inverse.at(m!, n)) * weight[m!]!.at(c!))) };
  },

  rms_norm_backward_input: ({ dx, dy, x, weight, epsilon, accumulate }, r) => {
    const [M, N, C] = x.shape as Sizes;
    const inverse = inverseRms(r, x, epsilon);
    const scaled = (m: number, n: number, c: number) => r(dy.at(m, n, c) * weight[m]!.at(c));
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
    const half = x.shape[4]! / 2;
    return {
      y: build(y.shape, (m, b, t, h, d) => {
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

  // forward: out = p v, p = softmax(s), s = q k^T / sqrt(D); lse is the log of the softmax's sum.
  attention_backward: ({ dq, dk, dv, dout, out, lse, q, k, v, window }, r) => {
    const [M, B, T, H, D] = q.shape as Sizes;
    const K = k.shape[3]!;
    const scale = r(1 / r(Math.sqrt(D)));
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
        const p = r(Math.exp(r(score(r, q, k, index, j) - lse.at(m, b, h, t))));
        const dp = sum(r, D, (d) => r(dout.at(m, b, t, h, d) * v.at(m, b, j, head, d)));
        const ds = r.stored(r(r(p * r(dp - mean)) * scale));
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

  swiglu_forward: ({ y, gate, up }, r) => ({
    y: build(y.shape, (m, n, f) => {
      const x = gate.at(m!, n, f);
      return r(r(x / r(1 + r(Math.exp(-x)))) * up.at(m!, n, f));
    }),
  }),

  swiglu_backward: ({ dgate, dup, dy, gate, up }, r) => ({
    dgate: build(dgate.shape, (m, n, f) => {
      const x = gate.at(m!, n, f);
      const s = sigmoid(r, x);
      const slope = r(s + r(x * r(s * r(1 - s)))); // of x * sigmoid(x)
      return r(r(dy.at(m!, n, f) * up.at(m!, n, f)) * slope);
    }),
    dup: build(dup.shape, (m, n, f) => {
      const x = gate.at(m!, n, f);
      return r(dy.at(m!, n, f) * r(x * sigmoid(r, x)));
    }),
  }),

  swiglu_linear: ({ y, x, gate, up, gateBias, upBias }, r) => ({
    y: build(y.shape, (m, n, f) => {
      const product = (weight: Values, bias?: Values) => {
        const z = sum(r, x.shape[2]!, (c) => times(r, x.at(m!, n, c), weight.at(f!, c)));
        return bias ? r(z + bias.at(f!)) : z;
      };
      const g = product(gate[m!]!, gateBias?.[m!]);
      return r(r(g / r(1 + r(Math.exp(-g)))) * product(up[m!]!, upBias?.[m!]));
    }),
  }),

  cross_entropy_forward: ({ losses, logits, targets }, r) => ({
    losses: build(losses.shape, (n) => {
      const target = targets.at(n!);
      return target < 0 ? 0 : r(softmax(r, logits, n!).lse - logits.at(n!, target));
    }),
  }),

  cross_entropy_backward: ({ dlogits, dlosses, logits, targets }, r) => {
    const rows = Array.from({ length: dlogits.shape[0]! }, (_, n) => softmax(r, logits, n).p);
    return {
      dlogits: build(dlogits.shape, (n, v) => {
        const target = targets.at(n!);
        return target < 0 ? 0 : r(dlosses.at(n!) * r(rows[n!]![v!]! - (v === target ? 1 : 0)));
      }),
    };
  },
};
