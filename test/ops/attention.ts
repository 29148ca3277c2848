import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import {
  type Arguments,
  blank,
  build,
  type Draw,
  exact,
  integers,
  type Reference,
  type Round,
  single,
  sum,
  Values,
} from '../support/reference.js';
import { capped, capSlope } from '../support/reference-softcap.js';
import { inPages, type Table, unpaged } from './pages.js';

type Sizes = [number, number, number, number, number];

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

const forward: Reference<'attention_forward'> = (called, r) => {
  const args = { ...called, k: unpaged(called.k, called.pages), v: unpaged(called.v, called.pages) };
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
};

interface Attention {
  M?: number;
  B?: number;
  T: number;
  /** Cache slots; default T. */
  S?: number;
  H?: number;
  K?: number;
  D?: number;
  window?: number;
  /** Default 1 / sqrt(D). */
  scale?: number;
  softcap?: number;
  starts?: number[];
  /** Keys and values lie in pages. */
  pages?: Table;
}

/** Keys or values of which slots from starts[b] + T on were never written. */
function cache(draw: Draw, shape: number[], filled: (b: number) => number): Values {
  const { data, ...values } = draw.normal(shape);
  const [, B, S, K, D] = shape as [number, number, number, number, number];
  const slot = (i: number) => Math.floor(i / (K * D)) % S;
  const sequence = (i: number) => Math.floor(i / (K * D * S)) % B;
  return new Values(
    values.shape,
    data.map((x, i) => (slot(i) < filled(sequence(i)) ? x : Number.NaN)),
  );
}

export function attentionForward(attention: Attention, withLse = true): Case {
  const { M = 1, T, S = T, H = 1, K = H, D = 2, window = 0, softcap = 0, starts } = attention;
  const scale = Math.fround(attention.scale ?? 1 / Math.sqrt(D));
  const B = attention.B ?? starts?.length ?? 1;
  const filled = (b: number) => (starts?.[b] ?? 0) + T;
  const { pages } = attention;
  return call('attention_forward', describe({ ...attention, withLse }), (draw) => ({
    out: blank([M, B, T, H, D]),
    lse: withLse ? blank([M, B, H, T], 'f32') : undefined,
    q: draw.normal([M, B, T, H, D]),
    k: inPages(cache(draw, [M, B, S, K, D], filled), pages),
    v: inPages(cache(draw, [M, B, S, K, D], filled), pages),
    pages: pages && integers(pages.flat(2), [M, B, S / 64]),
    starts: starts && integers(starts),
    window,
    scale,
    softcap,
  }));
}

export function attentionBackward(attention: Attention): Case {
  const { M = 1, B = 1, T, H = 1, K = H, D = 2, window = 0, softcap = 0 } = attention;
  const scale = Math.fround(attention.scale ?? 1 / Math.sqrt(D));
  return call('attention_backward', describe(attention), (draw) => {
    const [q, k, v] = [
      draw.normal([M, B, T, H, D]),
      draw.normal([M, B, T, K, D]),
      draw.normal([M, B, T, K, D]),
    ] as const;
    const stored = { out: blank(q.shape), lse: blank([M, B, H, T], 'f32') };
    const { out, lse } = forward({ ...stored, q, k, v, starts: undefined, window, scale, softcap }, exact);
    return {
      dq: blank(q.shape),
      dk: blank(k.shape),
      dv: blank(v.shape),
      dout: draw.normal(q.shape),
      out: new Values(q.shape, (out as Float64Array).map(single)),
      lse: new Values([M, B, H, T], (lse as Float64Array).map(single), 'f32'),
      q,
      k,
      v,
      window,
      scale,
      softcap,
    };
  });
}

// Up to four queries stream over the cache; more are computed in blocks of 48 or 56 queries by 192 or 224 keys.
const lengths = [1, 2, 4, 5, 47, 48, 49, 57, 113, 127, 128, 130, 257];

const keyBlocks = [191, 192, 193, 223, 224, 225];

const cases: Case[] = [
  ...lengths.map((T) => attentionForward({ T, H: 2, K: 1, D: 6 })),
  ...lengths.map((T) => attentionForward({ M: 2, B: 2, T, H: 3, K: 3, D: 2, window: 3 })),
  ...lengths.map((T) => attentionBackward({ T, H: 2, K: 1, D: 6 })),
  ...lengths.map((T) => attentionBackward({ M: 2, B: 2, T, H: 1, D: 2, window: 3 })),

  ...[16, 64, 80].flatMap((D) =>
    [1, 3, 51].flatMap((T) => [
      attentionForward({ T, H: 2, D, window: 31 }, false),
      attentionForward({ B: 2, T, H: 4, K: 2, D }, false),
      attentionBackward({ T, H: 2, K: 1, D }),
    ]),
  ),
  ...[1, 2, 47, 48, 49, 127, 128, 129, 256, 1000].flatMap((window) => [
    attentionForward({ T: 257, D: 2, window }),
    attentionBackward({ T: 257, D: 2, window }),
  ]),
  ...[...keyBlocks, 385].flatMap((T) => [
    attentionForward({ T, H: 2, K: 1, D: 2 }),
    attentionBackward({ T, H: 2, K: 1, D: 2 }),
  ]),
  ...keyBlocks.flatMap((window) => [
    attentionForward({ T: 450, D: 2, window }),
    attentionBackward({ T: 450, D: 2, window }),
  ]),
  attentionForward({ M: 5, B: 3, T: 17, H: 6, K: 2, D: 16 }),
  attentionBackward({ M: 5, B: 3, T: 17, H: 6, K: 2, D: 16, window: 7 }),
  // So many groups that a task has several of the heads that share keys.
  attentionBackward({ B: 32, K: 2, H: 8, T: 7 }),
  attentionBackward({ B: 16, K: 2, H: 8, T: 50, window: 5 }),

  // Caps that some scores reach and others do not, and a scale that is not that of the width.
  ...[1, 4, 5, 49, 130].flatMap((T) => [
    attentionForward({ T, H: 2, K: 1, D: 6, softcap: 1.5, scale: 0.7 }),
    attentionForward({ B: 2, T, S: 140, H: 4, K: 2, D: 24, softcap: 5, window: 9, starts: [3, 140 - T] }),
    attentionBackward({ T, H: 2, K: 1, D: 6, softcap: 1.5, scale: 0.7 }),
    attentionBackward({ M: 2, B: 2, T, H: 4, K: 2, D: 24, softcap: 5, window: 9 }),
  ]),
  attentionForward({ T: 33, D: 16, scale: 2 }),
  attentionBackward({ T: 33, D: 16, scale: 2 }),

  // The widest heads.
  ...[130, 256].flatMap((D) => [
    attentionForward({ T: 1, S: 70, H: 2, K: 1, D, starts: [69] }),
    attentionForward({ T: 51, H: 2, K: 1, D, softcap: 3 }),
    attentionBackward({ T: 51, H: 2, K: 1, D, softcap: 3, window: 20 }),
  ]),

  // Sequences of a cache stand at places of their own, and slots that were never written do not matter.
  ...[1, 4, 5, 49, 130].flatMap((T) =>
    [0, 1, 3, 128].map((window) => attentionForward({ T, S: 300, H: 2, K: 1, window, starts: [0, 127, 300 - T] })),
  ),
  attentionForward({ M: 3, T: 1, S: 131, H: 2, D: 80, starts: [130, 7] }),

  // Widths that have a kernel of their own on Hopper: several tiles and steps, and what lies behind their ends.
  ...[64, 128].flatMap((D) => [
    attentionForward({ M: 2, T: 270, H: 2, K: 1, D }),
    attentionForward({ T: 130, S: 200, H: 4, K: 2, D }, false),
    attentionForward({ T: 70, S: 300, H: 2, K: 1, D, window: 100, starts: [0, 127, 230] }),
    attentionBackward({ M: 2, T: 270, H: 2, K: 1, D }),
    attentionBackward({ T: 200, H: 4, K: 2, D, window: 100 }),
    attentionBackward({ T: 140, H: 2, K: 1, D, softcap: 3, scale: 0.2 }),
  ]),

  // Pages in any order: 0 is nobody's, -1 is none, and sequences share what they begin with.
  ...[1, 4, 5, 70, 130].flatMap((T) =>
    [6, 64, 128].flatMap((D) => [
      attentionForward({
        T,
        S: 256,
        H: 4,
        K: 2,
        D,
        starts: [0, 126],
        pages: [
          [
            [4, 1, 7, -1],
            [9, 2, 3, 8],
          ],
        ],
      }),
      attentionForward({ M: 2, T, S: 192, H: 2, D, window: 40, starts: [60], pages: [[[5, 3, 1]], [[2, 6, 4]]] }),
    ]),
  ),

  attentionForward({ T: 0 }),
  attentionForward({ B: 0, T: 5 }),
  attentionBackward({ T: 0 }),
  attentionBackward({ B: 0, T: 7 }),
];

const fault = (T: number, starts?: number[]) =>
  call('attention_forward', `T=${T} starts=${starts}`, (draw) => {
    const B = starts?.length ?? 1;
    return {
      out: blank([1, B, T, 2, 4]),
      lse: undefined,
      q: draw.normal([1, B, T, 2, 4]),
      k: draw.normal([1, B, 6, 2, 4]),
      v: draw.normal([1, B, 6, 2, 4]),
      starts: starts && integers(starts),
      window: 0,
      scale: 0.5,
      softcap: 0,
    };
  });

const heads = { M: 2, B: 2, T: 130, H: 4, K: 2, D: 16 };

export const attention: OpTest = {
  references: {
    attention_forward: forward,

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
  },
  cases,
  large: [
    attentionForward(heads),
    attentionForward({ ...heads, S: 300, T: 3, starts: [297, 100], window: 150 }),
    attentionBackward(heads),
    attentionBackward({ ...heads, window: 60 }),
  ],
  faults: [
    { case: fault(7), code: 'BAD_SHAPE', message: /^attention_forward: sequence 0 has 7 tokens from position 0/ },
    {
      case: fault(1, [0, 6]),
      code: 'BAD_SHAPE',
      message: /^attention_forward: sequence 1 has 1 tokens from position 6/,
    },
    { case: fault(5, [2]), code: 'BAD_SHAPE', message: /^attention_forward: sequence 0 has 5 tokens from position 2/ },
    {
      case: fault(1, [-5]),
      code: 'BAD_SHAPE',
      message: /^attention_forward: sequence 0 has 1 tokens from position -5/,
    },
  ],
  refused: [
    {
      case: attentionBackward({ T: 7, H: 0, K: 1 }),
      code: 'BAD_SHAPE',
      message: /^attention_backward: expected query heads that are a multiple of the key\/value heads/,
    },
  ],
  gradients: [{ window: null }, { window: 3 }, { window: 3, softcap: 1.5, scale: 0.9 }].map((options) => ({
    op: 'attention',
    label: JSON.stringify(options),
    inputs: { q: [2, 1, 7, 4, 2], k: [2, 1, 7, 2, 2], v: [2, 1, 7, 2, 2] },
    y: (scope, { q, k, v }) => ops.attention(scope, q!, k!, v!, options),
  })),
};
