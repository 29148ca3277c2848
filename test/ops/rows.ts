import type { DType } from '../../lib/addon.js';
import { blank, type Draw, integers, Values } from '../support/reference.js';
import { type Case, call } from '../support/reference-case.js';

const mixed: DType[] = ['f32', 'bf16', 'f16'];
const widths = [1, 3, 31, 33, 64, 123];

/** [M, N, C] */
const sizes = [
  [1, 1, 33],
  [2, 3, 31],
  [3, 33, 3],
  [5, 31, 64],
  [1, 123, 123],
  [1, 200, 1],
] as const;

const embeddings = sizes.flatMap(([M, N, C]) => {
  const label = `M=${M} N=${N} C=${C}`;
  return [
    call('embedding_forward', label, (draw) => ({
      y: blank([M, N, C]),
      table: draw.members(M, [7, C], 1, mixed),
      ids: draw.integers(N, 7),
    })),
    // Seven ids for more rows: the rows of one id add up.
    call('embedding_backward', label, (draw) => ({
      dtable: draw.members(M, [7, C]),
      dy: draw.normal([M, N, C]),
      ids: draw.integers(N, 7),
    })),
  ];
});

const norms = sizes.flatMap(([M, N, C]) =>
  [1, 1e-3].flatMap((scale) => {
    const label = `M=${M} N=${N} C=${C} scale=${scale}`;
    const epsilon = Math.fround(1e-5);
    return [
      call('rms_norm_forward', label, (draw) => ({
        y: blank([M, N, C]),
        x: draw.normal([M, N, C], scale),
        weight: draw.members(M, [C], 1, mixed),
        epsilon,
      })),
      ...[false, true].map((accumulate) =>
        call('rms_norm_backward_input', `${label} accumulate=${accumulate}`, (draw) => ({
          dx: accumulate ? draw.normal([M, N, C]) : blank([M, N, C]),
          dy: draw.normal([M, N, C]),
          x: draw.normal([M, N, C], scale),
          weight: draw.members(M, [C], 1, mixed),
          epsilon,
          accumulate,
        })),
      ),
      call('rms_norm_backward_weight', label, (draw) => ({
        dweight: draw.members(M, [C]),
        dy: draw.normal([M, N, C]),
        x: draw.normal([M, N, C], scale),
        epsilon,
      })),
    ];
  }),
);

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

const ropes = [2, 6, 16, 64, 80].flatMap((D) =>
  [false, true].flatMap((inverse) =>
    [undefined, [0, 40, 7]].flatMap((starts) =>
      [false, true].map((inPlace) =>
        call('rope', `D=${D} inverse=${inverse} starts=${starts} inPlace=${inPlace}`, (draw) => {
          const [M, B, T, H] = [2, 3, 5, 3];
          const x = draw.normal([M, B, T, H, D]);
          return {
            y: inPlace ? x : blank(x.shape),
            x,
            table: [rotations(draw, 45, D), rotations(draw, 45, D)],
            starts: starts && integers(starts),
            inverse,
          };
        }),
      ),
    ),
  ),
);

const activations = widths.flatMap((F) =>
  [1, 30].flatMap((scale) => [
    call('swiglu_forward', `F=${F} scale=${scale}`, (draw) => ({
      y: blank([2, 3, F]),
      gate: draw.normal([2, 3, F], scale),
      up: draw.normal([2, 3, F]),
    })),
    call('swiglu_backward', `F=${F} scale=${scale}`, (draw) => ({
      dgate: blank([2, 3, F]),
      dup: blank([2, 3, F]),
      dy: draw.normal([2, 3, F]),
      gate: draw.normal([2, 3, F], scale),
      up: draw.normal([2, 3, F]),
    })),
  ]),
);

/** Targets of which every third does not count. */
function targets(draw: Draw, rows: number, vocabulary: number): Values {
  const { data } = draw.integers(rows, vocabulary);
  return integers([...data].map((target, n) => (n % 3 === 1 ? -1 : target)));
}

const losses = [1, 3, 31, 33, 123, 1000].flatMap((V) =>
  [1, 20].flatMap((scale) => [
    call('cross_entropy_forward', `V=${V} scale=${scale}`, (draw) => ({
      losses: blank([5]),
      logits: draw.normal([5, V], scale),
      targets: targets(draw, 5, V),
    })),
    ...[false, true].map((inPlace) =>
      call('cross_entropy_backward', `V=${V} scale=${scale} inPlace=${inPlace}`, (draw) => {
        const logits = draw.normal([5, V], scale);
        return {
          dlogits: inPlace ? logits : blank([5, V]),
          dlosses: draw.normal([5]),
          logits,
          targets: targets(draw, 5, V),
        };
      }),
    ),
  ]),
);

const empty = [
  call('embedding_forward', 'N=0', (draw) => ({
    y: blank([2, 0, 3]),
    table: draw.members(2, [7, 3]),
    ids: integers([]),
  })),
  call('embedding_backward', 'N=0', (draw) => ({
    dtable: draw.members(2, [7, 3]),
    dy: blank([2, 0, 3]),
    ids: integers([]),
  })),
  call('rms_norm_forward', 'N=0', (draw) => ({
    y: blank([2, 0, 3]),
    x: blank([2, 0, 3]),
    weight: draw.members(2, [3]),
    epsilon: 0,
  })),
  call('rms_norm_backward_input', 'N=0', (draw) => ({
    dx: blank([2, 0, 3]),
    dy: blank([2, 0, 3]),
    x: blank([2, 0, 3]),
    weight: draw.members(2, [3]),
    epsilon: 0,
    accumulate: false,
  })),
  call('rms_norm_backward_weight', 'N=0', (draw) => ({
    dweight: draw.members(2, [3]),
    dy: blank([2, 0, 3]),
    x: blank([2, 0, 3]),
    epsilon: 0,
  })),
  call('rope', 'T=0', (draw) => ({
    y: blank([1, 2, 0, 3, 4]),
    x: blank([1, 2, 0, 3, 4]),
    table: [draw.normal([5, 4])],
    starts: undefined,
    inverse: false,
  })),
  call('swiglu_forward', 'N=0', () => ({ y: blank([2, 0, 3]), gate: blank([2, 0, 3]), up: blank([2, 0, 3]) })),
  call('swiglu_backward', 'N=0', () => ({
    dgate: blank([2, 0, 3]),
    dup: blank([2, 0, 3]),
    dy: blank([2, 0, 3]),
    gate: blank([2, 0, 3]),
    up: blank([2, 0, 3]),
  })),
  call('cross_entropy_forward', 'N=0', () => ({ losses: blank([0]), logits: blank([0, 7]), targets: integers([]) })),
  call('cross_entropy_backward', 'N=0', () => ({
    dlogits: blank([0, 7]),
    dlosses: blank([0]),
    logits: blank([0, 7]),
    targets: integers([]),
  })),
];

export const rows: Case[] = [...embeddings, ...norms, ...ropes, ...activations, ...losses, ...empty];
