import { blank } from '../support/reference.js';
import { type Case, call, describe } from '../support/reference-case.js';

interface Mixture {
  M: number;
  N: number;
  C: number;
  keep?: number;
  temperature?: number;
}

export function mixture(size: Mixture): Case[] {
  const { M, N, C, keep = M, temperature = 1 } = size;
  const label = describe({ M, N, C, keep, temperature });
  const options = { keep, temperature: Math.fround(temperature) };
  return [
    ...[true, false].map((withResidual) =>
      call('mix_forward', describe({ label, withResidual }), (draw) => ({
        y: blank([N, C]),
        gates: blank([N, M]),
        x: draw.normal([M, N, C]),
        logits: draw.normal([N, M], 2),
        residual: withResidual ? draw.normal([N, C]) : undefined,
        ...options,
      })),
    ),
    call('mix_backward', label, (draw) => ({
      dx: blank([M, N, C]),
      dlogits: blank([N, M]),
      dy: draw.normal([N, C]),
      x: draw.normal([M, N, C]),
      logits: draw.normal([N, M], 2),
      ...options,
    })),
  ];
}

const sizes: Mixture[] = [
  { M: 1, N: 3, C: 5 },
  { M: 2, N: 1, C: 1 },
  { M: 4, N: 5, C: 31 },
  { M: 3, N: 33, C: 33 },
  { M: 5, N: 123, C: 16 },
  { M: 9, N: 2, C: 123 },
  { M: 3, N: 0, C: 4 },
];

export const mix: Case[] = [
  ...sizes.flatMap(mixture),
  ...[0.3, 7].flatMap((temperature) => mixture({ M: 4, N: 7, C: 33, temperature })),
  ...[1, 2, 3].flatMap((keep) => mixture({ M: 4, N: 17, C: 31, keep })),
  ...mixture({ M: 4, N: 17, C: 31, keep: 1, temperature: 0.2 }),
  ...mixture({ M: 4, N: 17, C: 31, keep: 2, temperature: 0 }),
  // Equal logits: the first members win.
  ...[1, 2].flatMap((keep) =>
    [0, 1].map((temperature) =>
      call('mix_forward', `equal logits ${describe({ keep, temperature })}`, (draw) => ({
        y: blank([3, 5]),
        gates: blank([3, 4]),
        x: draw.normal([4, 3, 5]),
        logits: draw.normal([3, 4], 0),
        residual: undefined,
        keep,
        temperature,
      })),
    ),
  ),
];
