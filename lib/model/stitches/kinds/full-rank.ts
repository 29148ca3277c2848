import * as ops from '../../../tensor/ops/index.js';
import type { Scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';
import { identity } from '../../transformer/stored-parameter.js';
import type { PartCost, StitchKind, StitchShape, StitchWeights, WeightSpec } from './kind.js';

/**
 * The paper's: a matrix [C, C] for each projection, a matrix [G, C] for each gate. It is usable untrained: projections are
 * identities (experts descend from the hub, so their channels mean alike) and gates zero, all members weighing the same.
 */
export const fullRank = {
  gate: ({ gateWidth: G, width: C }): WeightSpec[] => [
    { name: 'weight', shape: [G, C], initial: (device) => device.full([G, C], 0) },
  ],

  projection: ({ width: C }): WeightSpec[] => [
    { name: 'weight', shape: [C, C], initial: (device) => identity(device, C) },
  ],

  /** z_m = h_0 Wg_m^T + bg_m */
  logits(scope: Scope, hub: Tensor, { gate: [weight], gateBias }: StitchWeights): Tensor {
    const [, rows] = hub.shape as [number, number];
    const members = weight!.each.length;
    const all = ops.linear(scope, hub, [weight!.stacked], { bias: gateBias && [gateBias.stacked] });
    return ops.swapAxes(scope, scope.track(all.reshape(rows, members, all.size / (rows * members))));
  },

  /** p_e = x_e Wp_e^T */
  project: (scope: Scope, x: Tensor, { proj: [weights] }: StitchWeights): Tensor => ops.linear(scope, x, weights!),

  fused: ({ gate: [weight], gateBias, proj: [proj] }: StitchWeights): ops.StitchWeights => ({
    gate: weight!.whole,
    gateBias: gateBias?.whole,
    proj: proj!,
  }),

  cost({ width: C, gateWidth: G }: StitchShape) {
    return { gate: product(C, G), projection: product(C, C) };
  },
} satisfies StitchKind;

const product = (inputs: number, outputs: number): PartCost => {
  const flops = 2 * inputs * outputs;
  return { flops, inputFlops: flops, saved: 0 };
};
