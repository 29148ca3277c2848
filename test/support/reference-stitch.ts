/** Both stitch layers, the paper's section 3. Names and formulas are those of native/ops.h. */
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
import { dropoutFactor } from './reference-random.js';

type Stitch = Extract<Op, `experts_into_hub_${string}` | `hub_into_experts_${string}`>;
type Forward = Arguments<'experts_into_hub_forward'> | Arguments<'hub_into_experts_forward'>;
type Backward = Arguments<'experts_into_hub_backward'> | Arguments<'hub_into_experts_backward'>;

/** The gate that weighs channel c. */
const gateOf = ({ gateWeight }: Forward | Backward, c: number) => (gateWeight.shape[1] === 1 ? 0 : c);

/** What dropout multiplies gate logit (n, m, g) with. */
function dropped(r: Round, { gateWeight, dropout, seed }: Forward | Backward, n: number, m: number, g: number): number {
  const [M, G] = gateWeight.shape as [number, number];
  return dropoutFactor(r, dropout, seed, (n * M + m) * G + g);
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

export const stitches: { [O in Stitch]: Reference<O> } = {
  experts_into_hub_forward: (args, r) => {
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
  },

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

  hub_into_experts_forward: (args, r) => {
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
  },

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
};
