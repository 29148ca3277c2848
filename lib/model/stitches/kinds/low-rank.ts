import type { Device } from '../../../tensor/device.js';
import * as ops from '../../../tensor/ops/index.js';
import { fullRank } from './full-rank.js';
import type { PartCost, StitchKind, WeightSpec } from './kind.js';

/**
 * Projections that are the identity plus a product of rank r, p = x + (x A^T) B^T with A [r, C] and B [C, r], and gates for
 * each channel that are such a product, z = (h_0 A^T) B^T with B [G, r]; a scalar gate is one row anyway and stays whole.
 * A begins random and B zero, as in LoRA (Hu et al., arXiv:2106.09685): untrained, it computes what full rank does.
 *
 * Each member's gate has an A of its own. One A for all would spare 2 M r C - (M + 1) r C parameters, but then nothing of a
 * gate belongs to an expert: one that is added could not be trained without changing what the others' gates read.
 */
export function lowRank(rank: number): StitchKind {
  const down = (inputs: number): WeightSpec => ({
    name: 'down.weight',
    shape: [rank, inputs],
    initial: (device, seed) => normal(device, [rank, inputs], seed),
  });
  const up = (outputs: number): WeightSpec => ({
    name: 'up.weight',
    shape: [outputs, rank],
    initial: (device) => device.full([outputs, rank], 0),
  });
  const cost = (inputs: number, outputs: number): PartCost => ({
    flops: 2 * rank * (inputs + outputs),
    inputFlops: 2 * rank * inputs,
    saved: rank,
  });

  return {
    gate: (shape) => (shape.gateWidth === 1 ? fullRank.gate(shape) : [down(shape.width), up(shape.gateWidth)]),
    projection: ({ width: C }) => [down(C), up(C)],
    refusal: ({ width: C }) =>
      rank < C ? undefined : `a rank of ${rank} is none below the members' ${C} channels: take less, or full rank`,

    logits(scope, hub, weights) {
      const { gate, gateBias } = weights;
      const [down, up] = gate;
      if (!up) return fullRank.logits(scope, hub, weights);
      const [, rows] = hub.shape as [number, number];
      // The members' A stand below each other, so that one product reads h_0 for all.
      const inner = ops.linear(scope, hub, [down!.stacked]);
      const byMember = ops.swapAxes(scope, scope.track(inner.reshape(rows, up.each.length, rank)));
      return ops.linear(scope, byMember, up.each, { bias: gateBias?.each });
    },

    project(scope, x, { proj: [down, up] }) {
      return ops.linear(scope, ops.linear(scope, x, down!), up!, { residual: x });
    },

    cost: (shape) => {
      const { width: C, gateWidth: G } = shape;
      return { gate: G === 1 ? fullRank.cost(shape).gate : cost(C, G), projection: cost(C, C) };
    },
  };
}

/** So small that what it makes of a row is as large as the row's elements. */
function normal(device: Device, shape: [number, number], seed: number) {
  const y = device.empty(shape);
  device.run('fill_normal', { y, deviation: shape[1] ** -0.5, seed });
  return y;
}
