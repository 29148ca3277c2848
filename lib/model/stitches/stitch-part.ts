import type { Placement } from '../../checkpoint/stitch-manifest.js';
import type { Parameter } from '../../tensor/parameter.js';
import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { MemberLink, MemberResult, StitchPass } from './directions/direction.js';
import { DIRECTIONS } from './directions/index.js';
import type { StitchDesign } from './kinds/index.js';
import type { StitchWeights } from './kinds/kind.js';

/** What one member holds of a stitch, and its half of the computation: the rest is done by the ranks of the other members. */
export class StitchPart implements Disposable {
  /** @internal Of StitchLayer.partOf. */
  constructor(
    readonly placement: Placement,
    readonly index: number,
    private readonly design: StitchDesign,
    private readonly weights: StitchWeights,
    /** Named as in the file, where gates are those of all members. */
    readonly parameters: readonly Parameter[],
  ) {}

  /** The member behind the stitch, of its hidden states [1, N, C]. */
  forward(scope: Scope, h: Tensor, pass: StitchPass, link: MemberLink): MemberResult {
    const direction = DIRECTIONS[this.placement.kind];
    const half = { kind: this.design.kind, weights: this.weights, pass, link };
    return link.member === 0 ? direction.ofHub(scope, h, half) : direction.ofExpert(scope, h, half);
  }

  [Symbol.dispose](): void {
    const { gate, gateBias } = this.weights;
    for (const weight of gateBias ? [...gate, gateBias] : gate) weight[Symbol.dispose]();
    for (const parameter of this.parameters) parameter.dispose();
  }
}
