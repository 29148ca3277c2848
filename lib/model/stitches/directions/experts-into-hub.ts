import * as ops from '../../../tensor/ops/index.js';
import type { Scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { StitchKind, StitchWeights } from '../kinds/kind.js';
import { byToken, dropped } from './composition.js';
import { type Direction, HUB } from './direction.js';

function merge(
  scope: Scope,
  hub: Tensor,
  projected: Tensor,
  kind: StitchKind,
  weights: StitchWeights,
  dropout: ops.Dropout,
) {
  const logits = kind.logits(scope, hub, weights);
  const gates = ops.softmax(scope, dropped(scope, logits, projected.shape[0]! + 1, dropout), 0);
  const weighed = ops.mul(scope, ops.concat(scope, hub, projected, 0), gates);
  return { merged: ops.sumAxis(scope, weighed, 0), gates };
}

/** hub' = g_0 h_0 + sum over e of g_e p_e, g = softmax over members of the logits, p_e the projection of h_e. */
export const expertsIntoHub: Direction = {
  title: 'into the hub: share of each member',
  firstGated: 0,
  addedBias: {
    // e^-10000 is zero: a gate with this bias changes nothing, whatever the other logits are.
    shut: -10_000,
    // Next to logits about zero: each new expert weighs about 2 %.
    ajar: -4,
  },

  composed(scope, h, kind, weights, { dropout, experts }) {
    const members = h.shape[0]!;
    using inner = scope.inner();
    const hub = ops.slice(inner, h, 0, 0, 1);
    const own = ops.slice(inner, h, 0, 1, members);
    const projected = kind.project(inner, own, weights);
    const { merged, gates } = merge(inner, hub, projected, kind, weights, dropout);
    const out = experts === 'ended' ? merged : ops.concat(inner, merged, experts === 'projected' ? projected : own, 0);
    inner.leave(gates);
    return { h: inner.leave(out), gates: () => byToken(scope, gates, members) };
  },

  fused(scope, h, weights, pass) {
    const result = ops.expertsIntoHub(scope, h, weights, pass);
    return { h: result.h, gates: () => result.gates };
  },

  ofHub(scope, h, { kind, weights, pass: { dropout }, link: { communicator, members, trains } }) {
    using inner = scope.inner();
    const experts = Array.from({ length: members - 1 }, (_, e) => e + 1);
    const projected = ops.receive(inner, h.shape.slice(1), communicator, experts, trains);
    const { merged, gates } = merge(inner, h, projected, kind, weights, dropout);
    inner.leave(gates);
    return { h: inner.leave(merged), gates: () => byToken(scope, gates, members) };
  },

  ofExpert(scope, h, { kind, weights, pass: { experts }, link: { communicator } }) {
    using inner = scope.inner();
    const projected = kind.project(inner, h, weights);
    const onward = experts === 'unchanged' ? h : projected;
    const carrier = experts === 'ended' ? inner.empty([1], false, 'f32') : onward;
    return { h: inner.leave(ops.send(inner, projected, communicator, HUB, carrier)) };
  },

  saved: ({ members: M, width: C, gateWidth: G }, experts) => ({
    // h, gates, and the members side by side as the mixture weighs them.
    composed: 2 * M * C + M * G,
    // Projections that are the output are the next layer's.
    fused: M * C + M * G + (experts === 'projected' ? 0 : (M - 1) * C),
  }),
};
