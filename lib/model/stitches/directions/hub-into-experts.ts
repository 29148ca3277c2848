import * as ops from '../../../tensor/ops/index.js';
import { byToken, dropped } from './composition.js';
import { type Direction, HUB } from './direction.js';

/** h_e' = (1 - g_e) h_e + g_e p_e, g = sigmoid of the logits, p_e a projection of h_0; the hub passes unchanged. */
export const hubIntoExperts: Direction = {
  title: 'into the experts: share of the hub',
  firstGated: 1,

  composed(scope, h, kind, weights, { dropout }) {
    const members = h.shape[0]!;
    using inner = scope.inner();
    const hub = ops.slice(inner, h, 0, 0, 1);
    const own = ops.slice(inner, h, 0, 1, members);
    const gates = ops.sigmoid(inner, dropped(inner, kind.logits(inner, hub, weights), members, dropout));
    const projected = kind.project(inner, ops.repeat(inner, hub, members - 1), weights);
    const out = ops.concat(inner, hub, ops.lerp(inner, own, projected, gates), 0);
    inner.leave(gates);
    return { h: inner.leave(out), gates: () => byToken(scope, gates, members) };
  },

  fused(scope, h, weights, { dropout }) {
    const result = ops.hubIntoExperts(scope, h, weights, dropout);
    return { h: result.h, gates: () => result.gates };
  },

  ofHub(scope, h, { link: { communicator, members } }) {
    using inner = scope.inner();
    let hub = h;
    for (let expert = 1; expert < members; expert++) hub = ops.send(inner, hub, communicator, expert);
    return { h: inner.leave(hub) };
  },

  ofExpert(scope, h, { kind, weights, pass: { dropout }, link: { communicator, member, members, hubDiffers } }) {
    using inner = scope.inner();
    const hub = ops.receive(inner, h.shape.slice(1), communicator, [HUB], hubDiffers);
    const logits = dropped(inner, kind.logits(inner, hub, weights), members, dropout, member);
    const gates = ops.sigmoid(inner, logits);
    const out = ops.lerp(inner, h, kind.project(inner, hub, weights), gates);
    inner.leave(gates);
    return { h: inner.leave(out), gates: () => byToken(scope, gates, members, member) };
  },

  saved: ({ members: M, width: C, gateWidth: G }) => ({
    // h, gates, copies of the hub's and their projections.
    composed: M * C + (M - 1) * (2 * C + G),
    fused: M * C + M * G + (M - 1) * C,
  }),
};
