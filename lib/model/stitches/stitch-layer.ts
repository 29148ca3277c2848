import type { Placement } from '../../checkpoint/stitch-manifest.js';
import type { Device } from '../../tensor/device.js';
import type { StitchWeights } from '../../tensor/ops/index.js';
import { Parameter } from '../../tensor/parameter.js';
import type { Tensor } from '../../tensor/tensor.js';
import { identity, loadParameter, type StoredWeights } from '../transformer/stored-parameter.js';

/** The sizes of every stitch of a model. */
export interface StitchShape {
  members: number;
  width: number;
  /** C: a gate for each channel; 1: one for the whole token. */
  gateWidth: number;
  gateBias: boolean;
}

/** The trained weights of one stitch and where it stands. */
export class StitchLayer implements StitchWeights, Disposable {
  readonly gate: Parameter;
  readonly gateBias: Parameter | undefined;
  readonly proj: readonly Parameter[];

  private constructor(
    readonly placement: Placement,
    private readonly index: number,
    private readonly shape: StitchShape,
    create: (name: string, shape: number[]) => Parameter,
  ) {
    const { members, width, gateWidth, gateBias } = shape;
    const made: Parameter[] = [];
    const make = (name: string, shape: number[]): Parameter => {
      made.push(create(`stitch.${index}.${name}`, shape));
      return made.at(-1)!;
    };
    try {
      this.gate = make('gate.weight', [members, gateWidth, width]);
      this.gateBias = gateBias ? make('gate.bias', [members, gateWidth]) : undefined;
      this.proj = Array.from({ length: members - 1 }, (_, e) => make(`proj.${e}.weight`, [width, width]));
    } catch (error) {
      for (const parameter of made) parameter.dispose();
      throw error;
    }
  }

  /**
   * A stitch that is usable untrained: projections are identities (experts descend from the hub, so their channels mean
   * alike) and gates zero, all members weighing the same; with a gate bias the hub alone is heard.
   */
  static create(device: Device, placement: Placement, index: number, shape: StitchShape): StitchLayer {
    return new StitchLayer(placement, index, shape, (name, size) => {
      const value = name.includes('.proj.')
        ? identity(device, shape.width)
        : name.endsWith('bias')
          ? hubBias(device, shape)
          : device.full(size, 0);
      return Parameter.trainable(device, name, value);
    });
  }

  /** Throws BAD_STITCH where a tensor is missing or has another shape. */
  static load(
    device: Device,
    placement: Placement,
    index: number,
    shape: StitchShape,
    stored: StoredWeights,
  ): StitchLayer {
    return new StitchLayer(placement, index, shape, (name, size) => loadParameter(device, stored, name, size));
  }

  /** The same stitch over some of the members, member 0 among them. Its projections share the memory of this one's. */
  select(device: Device, members: readonly number[], { trainable = false } = {}): StitchLayer {
    const shape = { ...this.shape, members: members.length };
    let expert = 0;
    return new StitchLayer(this.placement, this.index, shape, (name) => {
      const value = () => {
        if (name.includes('.proj.')) return this.proj[members[++expert]! - 1]!.value.share();
        const whole = name.endsWith('bias') ? this.gateBias! : this.gate;
        return concatenate(device, whole.value, { take: members });
      };
      return trainable ? Parameter.trainable(device, name, value()) : new Parameter(name, value());
    });
  }

  /**
   * The stitch with more experts, trainable. What was there is kept, and what it computes, to the bit: a gate bias shuts the
   * new experts out of every merge until `openTo` lets them in.
   */
  grow(device: Device, added: number): StitchLayer {
    const { members, gateWidth, width } = this.shape;
    const shape = { ...this.shape, members: members + added, gateBias: true };
    const old = Array.from({ length: members }, (_, m) => m);
    let expert = 0;
    return new StitchLayer(this.placement, this.index, shape, (name) => {
      const value = () => {
        if (name.includes('.proj.')) {
          const kept = this.proj[expert++];
          return kept ? concatenate(device, kept.value, { take: 'all' }) : identity(device, width);
        }
        if (name.endsWith('weight')) return concatenate(device, this.gate.value, { take: old, added });
        const fill = this.leadsIntoHub ? SHUT : 0;
        if (this.gateBias) return concatenate(device, this.gateBias.value, { take: old, added, fill });
        using none = device.full([members, gateWidth], 0);
        return concatenate(device, none, { take: old, added, fill });
      };
      return Parameter.trainable(device, name, value());
    });
  }

  /** Lets members that are shut out be heard a little, so that gradients reach their gates. */
  openTo(device: Device, members: readonly number[]): void {
    if (!this.leadsIntoHub || !this.gateBias) return;
    for (const m of members) {
      using bias = this.gateBias.value.slice(m);
      device.run('fill', { y: bias, value: AJAR });
    }
  }

  private get leadsIntoHub(): boolean {
    return this.placement.kind === 'experts_into_hub';
  }

  /** What belongs to some of the experts alone: their slices of the gate, which share its memory, and their projections. */
  partsOf(members: readonly number[]): Parameter[] {
    const slices = (parameter: Parameter | undefined) =>
      parameter?.gradient
        ? members.map(
            (m) => new Parameter(`${parameter.name}[${m}]`, parameter.value.slice(m), parameter.gradient!.slice(m)),
          )
        : [];
    const proj = members.map((m) => this.proj[m - 1]!);
    const shared = proj.map(({ name, value, gradient }) => new Parameter(name, value.share(), gradient?.share()));
    return [...slices(this.gate), ...slices(this.gateBias), ...shared];
  }

  get parameters(): readonly Parameter[] {
    return [this.gate, ...(this.gateBias ? [this.gateBias] : []), ...this.proj];
  }

  [Symbol.dispose](): void {
    for (const parameter of this.parameters) parameter.dispose();
  }
}

// e^-12 = 6e-6: experts move logits by some 1e-5 of their size at first, yet gradients reach their gates.
const HUB_ADVANTAGE = 12;

// e^-10000 is zero: a gate with this bias changes nothing, whatever the other logits are.
const SHUT = -10_000;
// Next to logits about zero: each new expert weighs about 2 %.
const AJAR = -4;

/** Members `take` of a weight, and `added` more that hold `fill`. */
function concatenate(
  device: Device,
  value: Tensor,
  { take, added = 0, fill = 0 }: { take: readonly number[] | 'all'; added?: number; fill?: number },
): Tensor {
  const [members, ...rest] = value.shape as [number, ...number[]];
  const taken = take === 'all' ? Array.from({ length: members }, (_, m) => m) : take;
  const all = device.full([taken.length + added, ...rest], fill);
  for (const [i, m] of taken.entries()) {
    using from = value.slice(m);
    using to = all.slice(i);
    device.run('convert', { y: to, x: from });
  }
  return all;
}

function hubBias(device: Device, { members, gateWidth }: StitchShape): Tensor {
  const data = new Float32Array(members * gateWidth).fill(-HUB_ADVANTAGE);
  data.fill(0, 0, gateWidth);
  return device.tensor(data, [members, gateWidth]);
}
