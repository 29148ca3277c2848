import type { Device } from '../../../tensor/device.js';
import type * as ops from '../../../tensor/ops/index.js';
import type { Parameter } from '../../../tensor/parameter.js';
import type { Scope } from '../../../tensor/scope.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { GateWeight } from '../gate-weight.js';

/** The sizes of every stitch of a model. */
export interface StitchShape {
  members: number;
  width: number;
  /** Of a member's gate; see gates.ts. */
  gateWidth: number;
  gateBias: boolean;
}

/** A trained matrix of one member's gate, or of one expert's projection. */
export interface WeightSpec {
  /** In the file: `stitch.{s}.gate.{name}` for the gates of all members, `stitch.{s}.proj.{e}.{name}` of an expert's projection. */
  name: string;
  /** Rows and columns. */
  shape: readonly [number, number];
  /** What it holds untrained. The caller disposes it. */
  initial: (device: Device, seed: number) => Tensor;
}

/** The weights of one stitch, in the order of the kind's specs. */
export interface StitchWeights {
  gate: readonly GateWeight[];
  gateBias?: GateWeight | undefined;
  /** For each spec a matrix of each expert. */
  proj: readonly (readonly Parameter[])[];
}

/** What one gate or one projection costs for each token. */
export interface PartCost {
  /** Operations. */
  flops: number;
  /** Of them those of products with what the stitch reads: what leads below it is spared where nothing there needs a gradient. */
  inputFlops: number;
  /** Floats that are kept for the backward, beside what goes in and comes out. */
  saved: number;
}

/**
 * What projects and gates in a stitch, whichever way it leads (see directions/). A kind declares the matrices of one gate and
 * of one projection, and composes small ops of them; memory, files, and which part belongs to which member are StitchLayer's.
 *
 * M members, E experts, N rows, C width, G gate width; M' is M, or E in a direction where the hub has no gate.
 */
export interface StitchKind {
  gate(shape: StitchShape): readonly WeightSpec[];
  projection(shape: StitchShape): readonly WeightSpec[];
  /** Why a stitch of this shape cannot be of this kind. */
  refusal?(shape: StitchShape): string | undefined;

  /** Gate logits [M', N, G] of the hub's hidden states [1, N, C], the bias included. */
  logits(scope: Scope, hub: Tensor, weights: StitchWeights): Tensor;
  /** Each expert's projection of its slice of x: [E, N, C] from as many. */
  project(scope: Scope, x: Tensor, weights: StitchWeights): Tensor;
  /** The weights as the fused ops take them, where these compute the same; otherwise the composition of the above is run. */
  fused?(weights: StitchWeights): ops.StitchWeights;

  cost(shape: StitchShape): { gate: PartCost; projection: PartCost };
}
