/** The two stitch layers (the paper's section 3). */
import { type Maybe, nativeOps, product } from '../native-ops.js';
import { gradients, type Parameter, values } from '../parameter.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';
import type { Dropout } from './dropout.js';

interface Forward {
  h: Tensor;
  gateWeight: Tensor;
  gateBias: Maybe<Tensor>;
  proj: readonly Tensor[];
  gates: Tensor;
  projected: Tensor;
  dropout: number;
  seed: number;
  first?: number;
  alone?: boolean;
}
interface Backward extends Omit<Forward, 'gateBias' | 'alone'> {
  dh: Maybe<Tensor>;
  dgateWeight: Tensor;
  dgateBias: Maybe<Tensor>;
  dproj: readonly Tensor[];
}
interface Calls {
  experts_into_hub_forward: Forward & { hub: Tensor };
  experts_into_hub_backward: Backward & { dhub: Tensor; dprojected: Maybe<Tensor> };
  hub_into_experts_forward: Forward & { out: Tensor };
  hub_into_experts_backward: Backward & { dout: Tensor };
}

/** Both directions multiply with all projections, a stitch into the experts with no gate of the hub's own. */
function products(h: Tensor, gateWeight: Tensor, gatesRead: number): number {
  const [members = 0, rows = 0, width = 0] = h.shape;
  return product(rows, width, gatesRead * gateWeight.shape[1]!) + (members - 1) * product(rows, width, width);
}
const all = (h: Tensor) => h.shape[0]!;
const experts = (h: Tensor) => h.shape[0]! - 1;

/** native/ops/experts_into_hub.h, hub_into_experts.h */
export const stitchOps = nativeOps<Calls>({
  experts_into_hub_forward: ({ h, gateWeight }) => products(h, gateWeight, all(h)),
  experts_into_hub_backward: ({ h, gateWeight, dh }) => (dh ? 2 : 1) * products(h, gateWeight, all(h)),
  hub_into_experts_forward: ({ h, gateWeight }) => products(h, gateWeight, experts(h)),
  hub_into_experts_backward: ({ h, gateWeight, dh }) => (dh ? 2 : 1) * products(h, gateWeight, experts(h)),
});

/** The trained weights of one stitch layer. */
export interface StitchWeights {
  /** [M, G, C]: G = C gates every channel on its own, G = 1 the whole token. */
  gate: Parameter;
  /** [M, G] */
  gateBias?: Parameter | undefined;
  /** E x [C, C] */
  proj: readonly Parameter[];
}

export interface StitchResult {
  /** Hidden states after the stitch: all members' [M, N, C], or the hub's alone [1, N, C]. */
  h: Tensor;
  /** Gate values [N, M, G]. */
  gates: Tensor;
}

export interface IntoHubOptions {
  dropout: Dropout;
  /** What the experts go on with: `projected` h_e W_e^T (the paper's equations), `unchanged` h_e, `ended` nothing. */
  experts: 'projected' | 'unchanged' | 'ended';
}

/** Experts-into-Hub: hub' = g_0 h_0 + sum_e g_e p_e, g = softmax over members of h_0 W_gate^T, p_e = h_e W_e^T. */
export function expertsIntoHub(scope: Scope, h: Tensor, weights: StitchWeights, options: IntoHubOptions): StitchResult {
  const { device } = scope;
  const { gate, gateBias, proj } = weights;
  const [members, rows, width] = h.shape as [number, number, number];
  const gates = scope.empty([rows, members, gate.value.shape[1]!]);
  const differentiable = h.node !== undefined || gate.gradient !== undefined;
  using inner = scope.inner();

  const out = scope.empty([options.experts === 'ended' ? 1 : members, rows, width], differentiable);
  const hub = inner.track(out.slice(0));
  const projected =
    options.experts === 'projected' ? inner.track(out.slice(1, members)) : inner.empty([members - 1, rows, width]);
  const common = { h, gateWeight: gate.value, proj: values(proj), ...dropping(options.dropout, gates) };
  const stored = { gates, projected };
  device.run('experts_into_hub_forward', { hub, gateBias: gateBias?.value, alone: scope.alone, ...common, ...stored });
  if (options.experts === 'unchanged') {
    const [from, to] = [inner.track(h.slice(1, members)), inner.track(out.slice(1, members))];
    device.run('convert', { y: to, x: from });
  }

  if (out.node) {
    scope.tape!.record(out, [h, gates, projected], (dout, saved, known) => {
      const [h, gates, projected] = saved as [Tensor, Tensor, Tensor];
      using dhub = dout.slice(0);
      using dexperts = options.experts === 'ended' ? undefined : dout.slice(1, members);
      using dh = h.node && device.empty(h.shape, h.dtype);
      device.run('experts_into_hub_backward', {
        ...common,
        h,
        gates,
        projected,
        dh,
        dgateWeight: gate.gradient!,
        dgateBias: gateBias?.gradient,
        dproj: gradients(proj),
        dhub,
        dprojected: options.experts === 'projected' ? dexperts : undefined,
      });
      known.added(gate.gradient, gateBias?.gradient, ...gradients(proj));
      if (!dh) return;
      if (options.experts === 'unchanged') {
        using below = dh.slice(1, members);
        device.run('add', { y: below, a: below, b: dexperts! });
      }
      known.give(h, dh);
    });
  }
  return { h: out, gates };
}

/** Dropout of logits of the shape of `gates` [N, M, G]. */
function dropping({ rate, seed, firstRow = 0 }: Dropout, gates: Tensor) {
  const [, members = 0, width = 0] = gates.shape;
  return { dropout: rate, seed, first: firstRow * members * width };
}

/** Hub-into-Experts: h_e' = (1 - g_e) h_e + g_e h_0 W_e^T with g = sigmoid(h_0 W_gate^T); the hub passes unchanged. */
export function hubIntoExperts(scope: Scope, h: Tensor, weights: StitchWeights, dropout: Dropout): StitchResult {
  const { device } = scope;
  const { gate, gateBias, proj } = weights;
  const [members, rows, width] = h.shape as [number, number, number];
  const gates = scope.empty([rows, members, gate.value.shape[1]!]);
  const out = scope.empty(h.shape, h.node !== undefined || gate.gradient !== undefined);
  using inner = scope.inner();
  const projected = inner.empty([members - 1, rows, width]);
  const common = {
    gateWeight: gate.value,
    proj: values(proj),
    ...dropping(dropout, gates),
  };
  device.run('hub_into_experts_forward', {
    alone: scope.alone,
    ...common,
    out,
    h,
    gateBias: gateBias?.value,
    gates,
    projected,
  });
  if (out.node) {
    scope.tape!.record(out, [h, gates, projected], (dout, saved, known) => {
      const [h, gates, projected] = saved as [Tensor, Tensor, Tensor];
      using dh = h.node && device.empty(h.shape, h.dtype);
      device.run('hub_into_experts_backward', {
        ...common,
        h,
        gates,
        projected,
        dh,
        dgateWeight: gate.gradient!,
        dgateBias: gateBias?.gradient,
        dproj: gradients(proj),
        dout,
      });
      known.added(gate.gradient, gateBias?.gradient, ...gradients(proj));
      if (dh) known.give(h, dh);
    });
  }
  return { h: out, gates };
}
