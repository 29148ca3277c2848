import type { Activation, DType } from '../../lib/addon.js';
import { blank, type Draw, integers, Values } from '../support/reference.js';
import { type Case, call, describe } from '../support/reference-case.js';

const mixed: DType[] = ['f32', 'bf16', 'f16'];

export function embedding(M: number, N: number, C: number, scale = 1): Case[] {
  const label = `M=${M} N=${N} C=${C} scale=${scale}`;
  return [
    call('embedding_forward', label, (draw) => ({
      y: blank([M, N, C]),
      table: draw.members(M, [7, C], 1, mixed),
      ids: draw.integers(N, 7),
      scale,
    })),
    // Seven ids for more rows: the rows of one id add up.
    call('embedding_backward', label, (draw) => ({
      dtable: draw.members(M, [7, C]),
      dy: draw.normal([M, N, C]),
      ids: draw.integers(N, 7),
      scale,
    })),
  ];
}

interface RmsNorm {
  /** Of the input. */
  scale?: number;
  offset?: number;
  residual?: boolean;
}

export function rmsNorm(M: number, N: number, C: number, norm: RmsNorm = {}): Case[] {
  const { scale = 1, offset = 0, residual = false } = norm;
  const label = `M=${M} N=${N} C=${C} scale=${scale}${offset || residual ? ` offset=${offset} residual=${residual}` : ''}`;
  const epsilon = Math.fround(1e-5);
  return [
    call('rms_norm_forward', label, (draw) => ({
      y: blank([M, N, C]),
      x: draw.normal([M, N, C], scale),
      weight: draw.members(M, [C], 1, mixed),
      residual: residual ? draw.normal([M, N, C]) : undefined,
      epsilon,
      offset,
    })),
    ...[false, true].map((accumulate) =>
      call('rms_norm_backward_input', `${label} accumulate=${accumulate}`, (draw) => ({
        dx: accumulate ? draw.normal([M, N, C]) : blank([M, N, C]),
        dy: draw.normal([M, N, C]),
        x: draw.normal([M, N, C], scale),
        weight: draw.members(M, [C], 1, mixed),
        epsilon,
        offset,
        accumulate,
      })),
    ),
    // Which neither of the two changes.
    ...(offset || residual
      ? []
      : [
          call('rms_norm_backward_weight', label, (draw) => ({
            dweight: draw.members(M, [C]),
            dy: draw.normal([M, N, C]),
            x: draw.normal([M, N, C], scale),
            epsilon,
          })),
        ]),
  ];
}

/** Cosines, then sines, of random angles: [P, D]. */
function rotations(draw: Draw, positions: number, width: number): Values {
  const half = width / 2;
  const angles = draw.normal([positions, half], 3);
  const data = Float64Array.from({ length: positions * width }, (_, i) => {
    const [p, d] = [Math.floor(i / width), i % width];
    return Math.fround(d < half ? Math.cos(angles.at(p, d)) : Math.sin(angles.at(p, d - half)));
  });
  return new Values([positions, width], data);
}

interface Rope {
  /** [M, B, T, H, D] */
  shape: number[];
  inverse: boolean;
  /** Of D channels how many are turned; default all. */
  width?: number;
  starts?: number[];
  inPlace?: boolean;
}

export function rope(turn: Rope): Case {
  const { shape, inverse, starts, inPlace } = turn;
  const [members = 0] = shape;
  const { width = shape[4]! } = turn;
  return call('rope', describe(turn), (draw) => {
    const x = draw.normal(shape);
    return {
      y: inPlace ? x : blank(shape),
      x,
      table: Array.from({ length: members }, () => rotations(draw, 45, width)),
      starts: starts && integers(starts),
      inverse,
    };
  });
}

export const swiglu = (N: number, F: number, scale = 1, activation: Activation = 'silu'): Case[] => {
  const label = `N=${N} F=${F} scale=${scale} ${activation}`;
  return [
    call('swiglu_forward', label, (draw) => ({
      y: blank([2, N, F]),
      gate: draw.normal([2, N, F], scale),
      up: draw.normal([2, N, F]),
      activation,
    })),
    call('swiglu_backward', label, (draw) => ({
      dgate: blank([2, N, F]),
      dup: blank([2, N, F]),
      dy: draw.normal([2, N, F]),
      gate: draw.normal([2, N, F], scale),
      up: draw.normal([2, N, F]),
      activation,
    })),
  ];
};

/** Targets of which every third does not count. */
function targets(draw: Draw, rows: number, vocabulary: number): Values {
  const { data } = draw.integers(rows, vocabulary);
  return integers([...data].map((target, n) => (n % 3 === 1 ? -1 : target)));
}

/** Where there is a cap, the logits are such as it leaves. */
export const crossEntropy = (N: number, V: number, scale = 1, softcap = 0): Case[] => [
  call('cross_entropy_forward', `N=${N} V=${V} scale=${scale}`, (draw) => ({
    losses: blank([N]),
    logits: draw.normal([N, V], scale),
    targets: targets(draw, N, V),
  })),
  ...[false, true].map((inPlace) =>
    call('cross_entropy_backward', `N=${N} V=${V} scale=${scale} softcap=${softcap} inPlace=${inPlace}`, (draw) => {
      const plain = draw.normal([N, V], scale);
      const data = plain.data.map((x) => Math.fround(softcap * Math.tanh(x / softcap)));
      const logits = softcap > 0 ? new Values([N, V], data) : plain;
      return {
        dlogits: inPlace ? logits : blank([N, V]),
        dlosses: draw.normal([N]),
        logits,
        targets: targets(draw, N, V),
        softcap,
      };
    }),
  ),
];

/** Contents with some of their elements replaced. */
function altered(values: Values, elements: Record<number, number>): Values {
  const data = values.data.slice();
  for (const [i, x] of Object.entries(elements)) data[Number(i)] = x;
  return new Values(values.shape, data);
}

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const steep = Float64Array.of(nan, infinity, -infinity, 1000, -1000, 89, -89, 0, -0);

// What is not finite stays in its row, and is not lost there: training stops on it.
const notFinite = [
  call('swiglu_forward', 'not finite', (draw) => ({
    y: blank([1, 1, 9]),
    gate: new Values([1, 1, 9], steep),
    up: draw.normal([1, 1, 9]),
    activation: 'silu' as const,
  })),
  call('swiglu_backward', 'not finite', (draw) => ({
    dgate: blank([1, 1, 9]),
    dup: blank([1, 1, 9]),
    dy: draw.normal([1, 1, 9]),
    gate: new Values([1, 1, 9], steep),
    up: draw.normal([1, 1, 9]),
    activation: 'silu' as const,
  })),
  call('rms_norm_forward', 'not finite', (draw) => ({
    y: blank([1, 3, 33]),
    x: altered(draw.normal([1, 3, 33]), { 5: nan, 98: infinity }),
    weight: draw.members(1, [33]),
    residual: undefined,
    epsilon: 1e-5,
    offset: 0,
  })),
  call('rms_norm_backward_input', 'not finite', (draw) => ({
    dx: blank([1, 3, 33]),
    dy: altered(draw.normal([1, 3, 33]), { 98: nan }),
    x: draw.normal([1, 3, 33]),
    weight: draw.members(1, [33]),
    epsilon: 1e-5,
    offset: 0,
    accumulate: false,
  })),
  // Rows: NaN, infinite, a logit that is ruled out, NaN where nothing counts.
  call('cross_entropy_forward', 'not finite', (draw) => ({
    losses: blank([4]),
    logits: altered(draw.normal([4, 33]), { 0: nan, 65: infinity, 70: -infinity, 130: nan }),
    targets: integers([3, 3, 3, -1]),
  })),
  call('cross_entropy_backward', 'not finite', (draw) => ({
    dlogits: blank([4, 33]),
    dlosses: draw.normal([4]),
    logits: altered(draw.normal([4, 33]), { 0: nan, 65: infinity, 70: -infinity, 130: nan }),
    targets: integers([3, 3, 3, -1]),
    softcap: 0,
  })),
];

/** [M, N, C] */
const sizes: [number, number, number][] = [
  [1, 1, 33],
  [2, 3, 31],
  [3, 33, 3],
  [5, 31, 64],
  [1, 123, 123],
  [1, 200, 1],
  [2, 0, 3],
];

export const rows: Case[] = [
  ...sizes.flatMap((size) => [...embedding(...size), ...embedding(...size, Math.sqrt(48))]),
  ...sizes.flatMap((size) => [
    ...rmsNorm(...size),
    ...rmsNorm(...size, { scale: 1e-3 }),
    ...rmsNorm(...size, { offset: 1 }),
    ...rmsNorm(...size, { offset: 1, residual: true }),
  ]),
  ...[2, 6, 16, 64, 80].flatMap((D) =>
    [false, true].flatMap((inverse) => [
      rope({ shape: [2, 3, 5, 3, D], inverse }),
      rope({ shape: [2, 3, 5, 3, D], inverse, starts: [0, 40, 7], inPlace: true }),
    ]),
  ),
  // Heads that are turned in part.
  ...[2, 4, 24, 62].flatMap((width) =>
    [false, true].flatMap((inverse) => [
      rope({ shape: [2, 3, 5, 3, 64], inverse, width }),
      rope({ shape: [2, 3, 5, 3, 64], inverse, width, starts: [0, 40, 7], inPlace: true }),
    ]),
  ),
  rope({ shape: [1, 2, 0, 3, 4], inverse: false }),
  ...(['silu', 'gelu', 'geluTanh'] as const).flatMap((activation) =>
    [1, 3, 31, 33, 64, 123].flatMap((F) => [...swiglu(3, F, 1, activation), ...swiglu(3, F, 30, activation)]),
  ),
  ...swiglu(0, 3),
  ...[1, 3, 31, 33, 123, 1000].flatMap((V) => [...crossEntropy(5, V), ...crossEntropy(5, V, 20)]),
  ...[1, 33, 1000].flatMap((V) => [...crossEntropy(5, V, 20, 15), ...crossEntropy(5, V, 1, 30)]),
  ...crossEntropy(0, 7),
  ...notFinite,
];
