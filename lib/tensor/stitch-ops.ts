/** The two stitch layers as ops (the paper's section 3; formulas in native/ops.h). */
import { gradients, type Parameter, values } from './parameter.js';
import type { Scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** The trained weights of one stitch layer. */
export interface StitchWeights {
  /** [M, G, C]: G = C gates every channel on its own, G = 1 the whole token. */
  gate: Parameter;
  /** [M, G] */
  gateBias?: Parameter | undefined;
  /** E x [C, C] */
  proj: readonly Parameter[];
}

export interface Dropout {
  rate: number;
  seed: number;
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
  const { rate, seed } = options.dropout;
  const gates = scope.empty([rows, members, gate.value.shape[1]!]);
  const differentiable = h.node !== undefined || gate.gradient !== undefined;
  using inner = scope.inner();

  const out = scope.empty([options.experts === 'ended' ? 1 : members, rows, width], differentiable);
  const hub = inner.track(out.slice(0));
  const projected =
    options.experts === 'projected' ? inner.track(out.slice(1, members)) : inner.empty([members - 1, rows, width]);
  const common = { h: h.native, gateWeight: gate.value.native, proj: values(proj), dropout: rate, seed };
  const stored = { gates: gates.native, projected: projected.native };
  device.run('experts_into_hub_forward', { hub: hub.native, gateBias: gateBias?.value.native, ...common, ...stored });
  if (options.experts === 'unchanged') {
    const [from, to] = [inner.track(h.slice(1, members)), inner.track(out.slice(1, members))];
    device.run('convert', { y: to.native, x: from.native });
  }

  if (out.node) {
    scope.tape!.record(out, [h, gates, projected], (dout, saved, known) => {
      const [h, gates, projected] = saved as [Tensor, Tensor, Tensor];
      using dhub = dout.slice(0);
      using dexperts = options.experts === 'ended' ? undefined : dout.slice(1, members);
      using dh = h.node && device.empty(h.shape, h.dtype);
      device.run('experts_into_hub_backward', {
        ...common,
        h: h.native,
        gates: gates.native,
        projected: projected.native,
        dh: dh?.native,
        dgateWeight: gate.gradient!.native,
        dgateBias: gateBias?.gradient?.native,
        dproj: gradients(proj),
        dhub: dhub.native,
        dprojected: options.experts === 'projected' ? dexperts?.native : undefined,
      });
      if (!dh) return;
      if (options.experts === 'unchanged') {
        using below = dh.slice(1, members);
        device.run('add', { y: below.native, a: below.native, b: dexperts!.native });
      }
      known.give(h, dh);
    });
  }
  return { h: out, gates };
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
    gateWeight: gate.value.native,
    proj: values(proj),
    dropout: dropout.rate,
    seed: dropout.seed,
  };
  device.run('hub_into_experts_forward', {
    ...common,
    out: out.native,
    h: h.native,
    gateBias: gateBias?.value.native,
    gates: gates.native,
    projected: projected.native,
  });
  if (out.node) {
    scope.tape!.record(out, [h, gates, projected], (dout, saved, known) => {
      const [h, gates, projected] = saved as [Tensor, Tensor, Tensor];
      using dh = h.node && device.empty(h.shape, h.dtype);
      device.run('hub_into_experts_backward', {
        ...common,
        h: h.native,
        gates: gates.native,
        projected: projected.native,
        dh: dh?.native,
        dgateWeight: gate.gradient!.native,
        dgateBias: gateBias?.gradient?.native,
        dproj: gradients(proj),
        dout: dout.native,
      });
      if (dh) known.give(h, dh);
    });
  }
  return { h: out, gates };
}
