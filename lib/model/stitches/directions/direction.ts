import type * as ops from '../../../tensor/ops/index.js';
import type { Scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { StitchKind, StitchShape, StitchWeights } from '../kinds/kind.js';

/** How a stitch is run. */
export interface StitchPass {
  /** On the gate logits. */
  dropout: ops.Dropout;
  /** What experts go on with behind a stitch into the hub; `ended`: nothing, only the hub goes on. */
  experts: ops.IntoHubOptions['experts'];
}

export interface StitchResult {
  /** Hidden states after the stitch: all members' [M, N, C], or the hub's alone [1, N, C]. */
  h: Tensor;
  /** Gate values [N, M, G], zero where a hub has no gate. */
  gates: () => Tensor;
}

/** Which way a stitch leads: how gates and projections, whatever their kind, are put together. */
export interface Direction {
  /** What its gates are, for people. */
  title: string;
  /** The first member with a gate: 0, or 1 where the hub has none. */
  firstGated: 0 | 1;
  /**
   * The gate bias of an expert that is added: `shut`, so that the hub hears nothing of it, and `ajar`, so that it is heard a
   * little and gradients reach its gate. Absent where experts do not reach the hub.
   */
  addedBias?: { shut: number; ajar: number };

  /** By small ops, for any kind. */
  composed(scope: Scope, h: Tensor, kind: StitchKind, weights: StitchWeights, pass: StitchPass): StitchResult;
  /** The same by one op. */
  fused(scope: Scope, h: Tensor, weights: ops.StitchWeights, pass: StitchPass): StitchResult;
  /** Floats per token that either keeps for the backward, beside what lies inside gates and projections. */
  saved(shape: StitchShape, experts: StitchPass['experts']): { composed: number; fused: number };
}
