import type { DType } from '../../lib/addon.js';
import { blank, type Draw, exact, single, Values } from '../support/reference.js';
import { type Case, call, describe, references } from '../support/reference-case.js';

interface Stitch {
  M: number;
  N: number;
  C: number;
  G: number;
  bias?: boolean;
  dropout?: number;
}

const rounded = (shape: readonly number[], data: unknown) => new Values(shape, (data as Float64Array).map(single));

/** What forward and backward share, and the outputs that the forward stores for the backward. */
function inputs(draw: Draw, { M, N, C, G, bias, dropout = 0 }: Stitch, dtypes: DType[]) {
  const common = {
    h: draw.normal([M, N, C]),
    gateWeight: draw.normal([M, G, C], C ** -0.5),
    proj: draw.members(M - 1, [C, C], C ** -0.5, dtypes),
    dropout,
    seed: 2 ** 40 + 12345,
  };
  const gateBias = bias ? draw.normal([M, G]) : undefined;
  return { common, gateBias, gates: blank([N, M, G]), projected: blank([M - 1, N, C]) };
}

const gradients = (draw: Draw, { M, C, G, bias }: Stitch) => ({
  dgateWeight: draw.normal([M, G, C]),
  dgateBias: bias ? draw.normal([M, G]) : undefined,
  dproj: draw.members(M - 1, [C, C]),
});

interface Wanted {
  dh: boolean;
  dprojected: boolean;
}

export function intoHub(stitch: Stitch, wanted: Wanted, dtypes: DType[] = ['f32']): Case[] {
  const { M, N, C } = stitch;
  return [
    call('experts_into_hub_forward', describe({ ...stitch, dtypes }), (draw) => {
      const { common, ...stored } = inputs(draw, stitch, dtypes);
      return { ...common, ...stored, hub: blank([1, N, C]) };
    }),
    call('experts_into_hub_backward', describe({ ...stitch, ...wanted, dtypes }), (draw) => {
      const { common, gateBias, ...stored } = inputs(draw, stitch, dtypes);
      const outputs = references.experts_into_hub_forward(
        { ...common, ...stored, gateBias, hub: blank([1, N, C]) },
        exact,
      );
      return {
        ...common,
        gates: rounded(stored.gates.shape, outputs.gates),
        projected: rounded(stored.projected.shape, outputs.projected),
        ...gradients(draw, stitch),
        dh: wanted.dh ? blank([M, N, C]) : undefined,
        dhub: draw.normal([1, N, C]),
        dprojected: wanted.dprojected ? draw.normal([M - 1, N, C]) : undefined,
      };
    }),
  ];
}

export function intoExperts(stitch: Stitch, { dh }: Wanted, dtypes: DType[] = ['f32']): Case[] {
  const { M, N, C } = stitch;
  return [
    call('hub_into_experts_forward', describe({ ...stitch, dtypes }), (draw) => {
      const { common, ...stored } = inputs(draw, stitch, dtypes);
      return { ...common, ...stored, out: blank([M, N, C]) };
    }),
    call('hub_into_experts_backward', describe({ ...stitch, dh, dtypes }), (draw) => {
      const { common, gateBias, ...stored } = inputs(draw, stitch, dtypes);
      const outputs = references.hub_into_experts_forward(
        { ...common, ...stored, gateBias, out: blank([M, N, C]) },
        exact,
      );
      return {
        ...common,
        gates: rounded(stored.gates.shape, outputs.gates),
        projected: rounded(stored.projected.shape, outputs.projected),
        ...gradients(draw, stitch),
        dh: dh ? blank([M, N, C]) : undefined,
        dout: draw.normal([M, N, C]),
      };
    }),
  ];
}

const sizes = [
  { M: 2, N: 1, C: 1 },
  { M: 2, N: 5, C: 3 },
  { M: 3, N: 4, C: 31 },
  { M: 5, N: 17, C: 33 },
  { M: 3, N: 123, C: 16 },
];
const options: (Wanted & { bias: boolean; dropout: number })[] = [
  { bias: false, dropout: 0, dh: true, dprojected: false },
  { bias: true, dropout: 0, dh: false, dprojected: true },
  { bias: false, dropout: 0.25, dh: true, dprojected: true },
  { bias: true, dropout: 0.5, dh: true, dprojected: true },
];

const cases = sizes.flatMap(({ C, ...size }) =>
  [C, 1].flatMap((G) =>
    options.flatMap(({ bias, dropout, ...wanted }) => {
      const stitch = { ...size, C, G, bias, dropout };
      return [...intoHub(stitch, wanted), ...intoExperts(stitch, wanted)];
    }),
  ),
);

const all = { dh: true, dprojected: true };

export const stitch: Case[] = [
  // With a width of one both gates are the same.
  ...new Map(cases.map((test) => [`${test.op} ${test.label}`, test])).values(),
  ...intoHub({ M: 3, N: 7, C: 31, G: 31, bias: true, dropout: 0.5 }, all, ['bf16', 'f16']),
  ...intoExperts({ M: 3, N: 7, C: 31, G: 1, bias: true, dropout: 0.5 }, all, ['bf16', 'f16']),
  ...intoHub({ M: 3, N: 0, C: 5, G: 5, bias: true }, all),
  ...intoExperts({ M: 3, N: 0, C: 5, G: 1, bias: true }, all),
  // The hub alone.
  ...intoHub({ M: 1, N: 5, C: 3, G: 3, bias: true }, all),
  ...intoExperts({ M: 1, N: 5, C: 3, G: 1, bias: true }, all),
];
