import type { Communicator } from '../../../tensor/communicator.js';
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

/** The hub's rank, where members have one each. */
export const HUB = 0;

/** A member among members that have a rank each, of the same number; the hub's is 0. */
export interface MemberLink {
  communicator: Communicator;
  /** 0 is the hub. */
  member: number;
  members: number;
  /** Whether gradients are taken. */
  trains: boolean;
  /** Whether they lead on into the hub's hidden states: a stitch below made these. */
  hubDiffers: boolean;
}

/** What a stitch makes of one member. */
export interface MemberResult {
  /** Its hidden states [1, N, C]; of an expert that ends behind the stitch one number, whose gradient starts all others. */
  h: Tensor;
  /** Gate values [N, M, G], zero where another member has them; absent where others have them all. */
  gates?: () => Tensor;
}

/** All that one member's half of a stitch is about. */
export interface StitchHalf {
  kind: StitchKind;
  /** Those of them that are this member's. */
  weights: StitchWeights;
  pass: StitchPass;
  link: MemberLink;
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
  /** The hub's half where each member has a rank of its own, of h [1, N, C]. */
  ofHub(scope: Scope, h: Tensor, half: StitchHalf): MemberResult;
  /** An expert's half. */
  ofExpert(scope: Scope, h: Tensor, half: StitchHalf): MemberResult;
  /** Floats per token that either keeps for the backward, beside what lies inside gates and projections. */
  saved(shape: StitchShape, experts: StitchPass['experts']): { composed: number; fused: number };
}
