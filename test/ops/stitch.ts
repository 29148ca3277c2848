import type { DType } from '../../lib/tensor/addon.js';
import * as ops from '../../lib/tensor/ops/index.js';
import type { Parameter } from '../../lib/tensor/parameter.js';
import type { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { type Case, call, describe } from '../support/case.js';
import type { Differentiable, OpTest } from '../support/op-test.js';
import {
  type Arguments,
  blank,
  build,
  type Draw,
  evaluate,
  exact,
  type Reference,
  type Round,
  single,
  sum,
  times,
  Values,
} from '../support/reference.js';
import { dropoutFactor } from '../support/reference-random.js';

type Forward = Arguments<'experts_into_hub_forward'> | Arguments<'hub_into_experts_forward'>;
type Backward = Arguments<'experts_into_hub_backward'> | Arguments<'hub_into_experts_backward'>;

/** The gate that weighs channel c. */
const gateOf = ({ gateWeight }: Forward | Backward, c: number) => (gateWeight.shape[1] === 1 ? 0 : c);

/** What dropout multiplies gate logit (n, m, g) with. */
function dropped(r: Round, args: Forward | Backward, n: number, m: number, g: number): number {
  const { gateWeight, dropout, seed, first = 0 } = args;
  const [M, G] = gateWeight.shape as [number, number];
  return dropoutFactor(r, dropout, seed, first + (n * M + m) * G + g);
}

/** z = dropout(h_0 Wg^T + bg)     [N, M, G] */
const logits = (r: Round, args: Forward) =>
  evaluate(args.gates.shape, (n, m, g) => {
    const { h, gateWeight, gateBias } = args;
    const product = sum(r, h.shape[2]!, (c) => times(r, h.at(0, n, c), gateWeight.at(m!, g, c)));
    return r((gateBias ? r(product + gateBias.at(m!, g)) : product) * dropped(r, args, n!, m!, g!));
  });

/** p_e = h_m W_e^T, m the member that expert e's projection reads     [E, N, C] */
const projections = (r: Round, { h, proj, projected }: Forward, member: (e: number) => number) =>
  evaluate(projected.shape, (e, n, o) =>
    sum(r, h.shape[2]!, (i) => times(r, h.at(member(e!), n, i), proj[e!]!.at(o!, i))),
  );

/**
 * The gradient of the gates from that of what each weighs, da (n, m, c): dg where a gate weighs one channel, the sum over
 * all of them where it weighs the token.
 */
const gateGradients = (r: Round, { h, gates }: Backward, da: (n: number, m: number, c: number) => number) =>
  evaluate(gates.shape, (n, m, g) =>
    gates.shape[2] === 1 ? sum(r, h.shape[2]!, (c) => da(n!, m!, c)) : da(n!, m!, g!),
  );

/** The gradients of all weights from those of the logits, dz, and of the projections, dp. */
function weightGradients(r: Round, args: Backward, dz: Values, dp: Values, member: (e: number) => number) {
  const { h, dgateWeight, dgateBias, dproj } = args;
  const N = h.shape[1]!;
  return {
    dgateWeight: build(dgateWeight.shape, (m, g, c) =>
      r(dgateWeight.at(m!, g, c) + sum(r, N, (n) => times(r, dz.at(n, m, g), h.at(0, n, c)))),
    ),
    ...(dgateBias && {
      dgateBias: build(dgateBias.shape, (m, g) => r(dgateBias.at(m!, g) + sum(r, N, (n) => dz.at(n, m, g)))),
    }),
    dproj: dproj.map((dw, e) =>
      build(dw.shape, (o, i) => r(dw.at(o!, i) + sum(r, N, (n) => times(r, dp.at(e, n, o), h.at(member(e), n, i))))),
    ),
  };
}

/** (dz Wg)[n, c] */
function throughGates(r: Round, { gateWeight }: Backward, dz: Values, n: number, c: number): number {
  const [M, G] = gateWeight.shape as [number, number];
  return sum(r, M, (m) => sum(r, G, (g) => times(r, dz.at(n, m, g), gateWeight.at(m, g, c))));
}

/** (dp_e W_e)[n, c] */
const throughProjection = (r: Round, { proj }: Backward, dp: Values, e: number, n: number, c: number) =>
  sum(r, dp.shape[2]!, (o) => times(r, dp.at(e, n, o), proj[e]!.at(o, c)));

const own = (e: number) => e + 1;
const hub = () => 0;

const forwardIntoHub: Reference<'experts_into_hub_forward'> = (args, r) => {
  const { h } = args;
  const M = h.shape[0]!;
  const z = logits(r, args);
  const gates = evaluate(z.shape, (n, m, g) => {
    const top = Math.max(...Array.from({ length: M }, (_, i) => z.at(n!, i, g)));
    const term = (i: number) => r(Math.exp(r(z.at(n!, i, g) - top)));
    return r(term(m!) / sum(r, M, term));
  });
  const projected = projections(r, args, own);
  return {
    gates: gates.data,
    projected: projected.data,
    hub: build(args.hub.shape, (_, n, c) =>
      sum(r, M, (m) => {
        const x = m ? r.stored(projected.at(m - 1, n!, c)) : h.at(0, n!, c);
        return r(r.stored(gates.at(n!, m, gateOf(args, c!))) * x);
      }),
    ),
  };
};

const forwardIntoExperts: Reference<'hub_into_experts_forward'> = (args, r) => {
  const { h } = args;
  const z = logits(r, args);
  const gates = evaluate(z.shape, (n, m, g) => (m ? r(1 / r(1 + r(Math.exp(-z.at(n!, m, g))))) : 0));
  const projected = projections(r, args, hub);
  return {
    gates: gates.data,
    projected: projected.data,
    out: build(args.out.shape, (m, n, c) => {
      if (m === 0) return h.at(0, n, c);
      const g = r.stored(gates.at(n!, m, gateOf(args, c!)));
      return r(r(r(1 - g) * h.at(m!, n, c)) + r(g * r.stored(projected.at(m! - 1, n, c))));
    }),
  };
};

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
    gateWeight: draw.f32([M, G, C], C ** -0.5),
    proj: draw.members(M - 1, [C, C], C ** -0.5, dtypes),
    dropout,
    seed: 2 ** 40 + 12345,
    first: 4099,
  };
  const gateBias = bias ? draw.f32([M, G]) : undefined;
  return { common, gateBias, gates: blank([N, M, G]), projected: blank([M - 1, N, C]) };
}

const weightGradientsOf = (draw: Draw, { M, C, G, bias }: Stitch) => ({
  dgateWeight: draw.f32([M, G, C]),
  dgateBias: bias ? draw.f32([M, G]) : undefined,
  dproj: draw.members(M - 1, [C, C]),
});

interface Wanted {
  dh: boolean;
  dprojected: boolean;
}

function intoHub(stitch: Stitch, wanted: Wanted, dtypes: DType[] = ['f32']): Case[] {
  const { M, N, C } = stitch;
  return [
    call('experts_into_hub_forward', describe({ ...stitch, dtypes }), (draw) => {
      const { common, ...stored } = inputs(draw, stitch, dtypes);
      return { ...common, ...stored, hub: blank([1, N, C]) };
    }),
    call('experts_into_hub_backward', describe({ ...stitch, ...wanted, dtypes }), (draw) => {
      const { common, gateBias, ...stored } = inputs(draw, stitch, dtypes);
      const outputs = forwardIntoHub({ ...common, ...stored, gateBias, hub: blank([1, N, C]) }, exact);
      return {
        ...common,
        gates: rounded(stored.gates.shape, outputs.gates),
        projected: rounded(stored.projected.shape, outputs.projected),
        ...weightGradientsOf(draw, stitch),
        dh: wanted.dh ? blank([M, N, C]) : undefined,
        dhub: draw.normal([1, N, C]),
        dprojected: wanted.dprojected ? draw.normal([M - 1, N, C]) : undefined,
      };
    }),
  ];
}

function intoExperts(stitch: Stitch, { dh }: Wanted, dtypes: DType[] = ['f32']): Case[] {
  const { M, N, C } = stitch;
  return [
    call('hub_into_experts_forward', describe({ ...stitch, dtypes }), (draw) => {
      const { common, ...stored } = inputs(draw, stitch, dtypes);
      return { ...common, ...stored, out: blank([M, N, C]) };
    }),
    call('hub_into_experts_backward', describe({ ...stitch, dh, dtypes }), (draw) => {
      const { common, gateBias, ...stored } = inputs(draw, stitch, dtypes);
      const outputs = forwardIntoExperts({ ...common, ...stored, gateBias, out: blank([M, N, C]) }, exact);
      return {
        ...common,
        gates: rounded(stored.gates.shape, outputs.gates),
        projected: rounded(stored.projected.shape, outputs.projected),
        ...weightGradientsOf(draw, stitch),
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

const combinations = sizes.flatMap(({ C, ...size }) =>
  [C, 1].flatMap((G) =>
    options.flatMap(({ bias, dropout, ...wanted }) => {
      const stitch = { ...size, C, G, bias, dropout };
      return [...intoHub(stitch, wanted), ...intoExperts(stitch, wanted)];
    }),
  ),
);

const all = { dh: true, dprojected: true };

const cases: Case[] = [
  // With a width of one both gates are the same.
  ...new Map(combinations.map((test) => [`${test.op} ${test.label}`, test])).values(),
  ...intoHub({ M: 3, N: 7, C: 31, G: 31, bias: true, dropout: 0.5 }, all, ['bf16', 'f16']),
  ...intoExperts({ M: 3, N: 7, C: 31, G: 1, bias: true, dropout: 0.5 }, all, ['bf16', 'f16']),
  ...intoHub({ M: 3, N: 0, C: 5, G: 5, bias: true }, all),
  ...intoExperts({ M: 3, N: 0, C: 5, G: 1, bias: true }, all),
  // The hub alone.
  ...intoHub({ M: 1, N: 5, C: 3, G: 3, bias: true }, all),
  ...intoExperts({ M: 1, N: 5, C: 3, G: 1, bias: true }, all),
];

const weightsOf = (weights: Record<string, Parameter>): ops.StitchWeights => ({
  gate: weights.gate!,
  gateBias: weights.bias,
  proj: [weights.proj0!, weights.proj1!],
});

const gradients = [4, 1].flatMap((G) =>
  [0, 0.5].flatMap((rate): Differentiable[] => {
    const inputs = { h: [3, 5, 4] };
    const weights = { gate: [3, G, 4], proj0: [4, 4], proj1: [4, 4], ...(rate && { bias: [3, G] }) };
    const dropout = { rate, seed: 11 };
    return [
      ...(['projected', 'unchanged', 'ended'] as const).map((experts) => ({
        op: 'expertsIntoHub',
        label: `G=${G} dropout=${rate} experts=${experts}`,
        inputs,
        weights,
        y: (scope: Scope, { h }: Record<string, Tensor>, own: Record<string, Parameter>) =>
          ops.expertsIntoHub(scope, h!, weightsOf(own), { dropout, experts }).h,
      })),
      {
        op: 'hubIntoExperts',
        label: `G=${G} dropout=${rate}`,
        inputs,
        weights,
        y: (scope, { h }, own) => ops.hubIntoExperts(scope, h!, weightsOf(own), dropout).h,
      },
    ];
  }),
);

const large = { M: 3, N: 130, C: 80, G: 80, bias: true, dropout: 0.5 };

export const stitch: OpTest = {
  references: {
    experts_into_hub_forward: forwardIntoHub,

    experts_into_hub_backward: (args, r) => {
      const { dh, dhub, dprojected, h, gates, projected } = args;
      const M = h.shape[0]!;
      // hub = sum over m of g_m x_m with x_0 = h_0 and x_m = p_m
      const x = (m: number, n: number, c: number) => (m ? projected.at(m - 1, n, c) : h.at(0, n, c));
      const dg = gateGradients(r, args, (n, m, c) => r(dhub.at(0, n, c) * x(m, n, c)));
      const dx = (m: number, n: number, c: number) => r(gates.at(n, m, gateOf(args, c)) * dhub.at(0, n, c));
      const dp = evaluate(projected.shape, (e, n, c) =>
        r.stored(dprojected ? r(dx(e! + 1, n!, c!) + dprojected.at(e!, n, c)) : dx(e! + 1, n!, c!)),
      );
      // g = softmax(z) over m
      const dz = evaluate(gates.shape, (n, m, g) => {
        const mean = sum(r, M, (i) => r(gates.at(n!, i, g) * dg.at(n!, i, g)));
        return r.stored(r(r(gates.at(n!, m, g) * r(dg.at(n!, m, g) - mean)) * dropped(r, args, n!, m!, g!)));
      });
      return {
        ...weightGradients(r, args, dz, dp, own),
        ...(dh && {
          dh: build(dh.shape, (m, n, c) =>
            m === 0
              ? r(dx(0, n!, c!) + throughGates(r, args, dz, n!, c!))
              : throughProjection(r, args, dp, m! - 1, n!, c!),
          ),
        }),
      };
    },

    hub_into_experts_forward: forwardIntoExperts,

    hub_into_experts_backward: (args, r) => {
      const { dh, dout, h, gates, projected } = args;
      const E = projected.shape[0]!;
      const gate = (m: number, n: number, c: number) => gates.at(n, m, gateOf(args, c));
      const dg = gateGradients(r, args, (n, m, c) =>
        m ? r(dout.at(m, n, c) * r(projected.at(m - 1, n, c) - h.at(m, n, c))) : 0,
      );
      const dp = evaluate(projected.shape, (e, n, c) => r.stored(r(gate(e! + 1, n!, c!) * dout.at(e! + 1, n, c))));
      // g = sigmoid(z)
      const dz = evaluate(gates.shape, (n, m, g) => {
        const slope = r(gates.at(n!, m, g) * r(1 - gates.at(n!, m, g)));
        return r.stored(r(r(dg.at(n!, m, g) * slope) * dropped(r, args, n!, m!, g!)));
      });
      return {
        ...weightGradients(r, args, dz, dp, hub),
        ...(dh && {
          dh: build(dh.shape, (m, n, c) => {
            if (m) return r(r(1 - gate(m, n!, c!)) * dout.at(m, n, c));
            const own = r(dout.at(0, n, c) + throughGates(r, args, dz, n!, c!));
            return r(own + sum(r, E, (e) => throughProjection(r, args, dp, e, n!, c!)));
          }),
        }),
      };
    },
  },
  cases,
  large: [...intoHub(large, all), ...intoExperts(large, all), ...intoExperts({ ...large, G: 1 }, all)],
  gradients,
};
