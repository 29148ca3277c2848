import type { Direction, StitchPass } from './directions/direction.js';
import type { StitchDesign } from './kinds/index.js';
import type { WeightSpec } from './kinds/kind.js';

/** What one stitch costs for each token. */
export interface StitchCost {
  /** Operations of all gates. */
  gateFlops: number;
  /** Operations of all projections. */
  projectionFlops: number;
  flops: number;
  /** Of them those of products with what the stitch reads. */
  inputFlops: number;
  /** Floats that are kept for the backward. */
  saved: number;
}

export function stitchCost(
  { kind, shape }: StitchDesign,
  direction: Direction,
  experts: StitchPass['experts'],
): StitchCost {
  const { gate, projection } = kind.cost(shape);
  const [gates, projections] = [shape.members - direction.firstGated, shape.members - 1];
  const { fused, composed } = direction.saved(shape, experts);
  const [gateFlops, projectionFlops] = [gates * gate.flops, projections * projection.flops];
  return {
    gateFlops,
    projectionFlops,
    flops: gateFlops + projectionFlops,
    inputFlops: gates * gate.inputFlops + projections * projection.inputFlops,
    saved: (kind.fused ? fused : composed) + gates * gate.saved + projections * projection.saved,
  };
}

/** Parameters of one stitch: of a gate for each member, maybe with a bias, and a projection for each expert. */
export function stitchParameters({ kind, shape }: StitchDesign): number {
  const size = (specs: readonly WeightSpec[]) =>
    specs.reduce((sum, { shape: [rows, columns] }) => sum + rows * columns, 0);
  const bias = shape.gateBias ? shape.gateWidth : 0;
  return shape.members * (size(kind.gate(shape)) + bias) + (shape.members - 1) * size(kind.projection(shape));
}
