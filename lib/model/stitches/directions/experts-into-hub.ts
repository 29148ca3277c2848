import * as ops from '../../../tensor/ops/index.js';
import { byToken, dropped } from './composition.js';
import type { Direction } from './direction.js';

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
    const gates = ops.softmax(inner, dropped(inner, kind.logits(inner, hub, weights), members, dropout), 0);
    const projected = kind.project(inner, own, weights);
    const weighed = ops.mul(inner, ops.concat(inner, hub, projected, 0), gates);
    const merged = ops.sumAxis(inner, weighed, 0);
    const out = experts === 'ended' ? merged : ops.concat(inner, merged, experts === 'projected' ? projected : own, 0);
    inner.leave(gates);
    return { h: inner.leave(out), gates: () => byToken(scope, gates, members) };
  },

  fused(scope, h, weights, pass) {
    const result = ops.expertsIntoHub(scope, h, weights, pass);
    return { h: result.h, gates: () => result.gates };
  },

  saved: ({ members: M, width: C, gateWidth: G }, experts) => ({
    // h, gates, and the members side by side as the mixture weighs them.
    composed: 2 * M * C + M * G,
    // Projections that are the output are the next layer's.
    fused: M * C + M * G + (experts === 'projected' ? 0 : (M - 1) * C),
  }),
};
