import { blank, type Draw, exact, integers, single, Values } from '../support/reference.js';
import { type Case, call, describe, references } from '../support/reference-case.js';

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
  return call('attention_forward', describe({ ...attention, withLse }), (draw) => ({
    out: blank([M, B, T, H, D]),
    lse: withLse ? blank([M, B, H, T]) : undefined,
    q: draw.normal([M, B, T, H, D]),
    k: cache(draw, [M, B, S, K, D], filled),
    v: cache(draw, [M, B, S, K, D], filled),
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
    const stored = { out: blank(q.shape), lse: blank([M, B, H, T]) };
    const { out, lse } = references.attention_forward(
      { ...stored, q, k, v, starts: undefined, window, scale, softcap },
      exact,
    );
    return {
      dq: blank(q.shape),
      dk: blank(k.shape),
      dv: blank(v.shape),
      dout: draw.normal(q.shape),
      out: new Values(q.shape, (out as Float64Array).map(single)),
      lse: new Values([M, B, H, T], (lse as Float64Array).map(single)),
      q,
      k,
      v,
      window,
      scale,
      softcap,
    };
  });
}

// Up to four queries stream over the cache; more are computed in blocks of 48 or 56 queries by 128 keys.
const lengths = [1, 2, 4, 5, 47, 48, 49, 57, 113, 127, 128, 130, 257];

export const attention: Case[] = [
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
  attentionForward({ M: 5, B: 3, T: 17, H: 6, K: 2, D: 16 }),
  attentionBackward({ M: 5, B: 3, T: 17, H: 6, K: 2, D: 16, window: 7 }),

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

  attentionForward({ T: 0 }),
  attentionForward({ B: 0, T: 5 }),
  attentionBackward({ T: 0 }),
  attentionBackward({ B: 0, T: 7 }),

  ...[1, 3, 31].map((T) =>
    call('cache_append', `T=${T}`, (draw) => ({
      cache: draw.normal([2, 3, 40, 2, 6]),
      x: draw.normal([2, 3, T, 2, 6]),
      starts: integers([0, 40 - T, 5]),
    })),
  ),
];
