import { hash32 } from '../../base/random.js';
import type { Placement } from '../../checkpoint/stitch-manifest.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Rows, SpreadWeight } from '../spread-weights.js';
import { loadParameter, type StoredWeights } from '../transformer/stored-parameter.js';
import type { Direction, StitchPass, StitchResult } from './directions/direction.js';
import { DIRECTIONS } from './directions/index.js';
import { GateWeight } from './gate-weight.js';
import type { StitchDesign } from './kinds/index.js';
import type { StitchWeights, WeightSpec } from './kinds/kind.js';
import { StitchPart } from './stitch-part.js';

/** Makes the parameters of a stitch. */
interface Maker {
  /** Weight i of the gates of all members, [M, rows, columns]. */
  gate(name: string, spec: WeightSpec, i: number): Parameter;
  /** [M, G] */
  gateBias(name: string): Parameter;
  /** Weight i of expert e's projection. */
  projection(name: string, spec: WeightSpec, i: number, e: number): Parameter;
}

/** The trained weights of one stitch and where it stands. What they are is its kind's, how they are put together its direction's. */
export class StitchLayer implements Disposable {
  private readonly weights: StitchWeights;
  private readonly direction: Direction;
  /** In the order of the file: the gates', their bias, one expert's projection after the other. */
  readonly parameters: readonly Parameter[];

  private constructor(
    readonly placement: Placement,
    readonly index: number,
    readonly design: StitchDesign,
    maker: Maker,
  ) {
    const { kind, shape } = design;
    this.direction = DIRECTIONS[placement.kind];
    const made: Parameter[] = [];
    this.parameters = made;
    const keep = (parameter: Parameter): Parameter => {
      made.push(parameter);
      return parameter;
    };
    const name = (part: string) => `stitch.${index}.${part}`;
    const ofGate = (whole: Parameter) => new GateWeight(keep(whole), this.direction.firstGated);
    try {
      const gate = kind.gate(shape).map((spec, i) => ofGate(maker.gate(name(`gate.${spec.name}`), spec, i)));
      const gateBias = shape.gateBias ? ofGate(maker.gateBias(name('gate.bias'))) : undefined;
      const specs = kind.projection(shape);
      const proj: Parameter[][] = specs.map(() => []);
      for (let e = 0; e < shape.members - 1; e++) {
        for (const [i, spec] of specs.entries()) {
          proj[i]!.push(keep(maker.projection(name(`proj.${e}.${spec.name}`), spec, i, e)));
        }
      }
      this.weights = { gate, gateBias, proj };
    } catch (error) {
      for (const parameter of made) parameter.dispose();
      throw error;
    }
  }

  /** A stitch to be trained. With a gate bias the hub alone is heard at first. `seed` is of what begins random. */
  static create(device: Device, placement: Placement, index: number, design: StitchDesign, seed: number): StitchLayer {
    const { members, gateWidth } = design.shape;
    const trainable = (name: string, value: Tensor) => Parameter.trainable(device, name, value);
    const initial = initialWeights(device, seed, index);
    return new StitchLayer(placement, index, design, {
      gate: (name, spec, i) => {
        const slices = Array.from({ length: members }, (_, m) => () => initial.gate(spec, i, m));
        return trainable(name, joined(device, [members, ...spec.shape], slices));
      },
      gateBias: (name) => trainable(name, hubBias(device, members, gateWidth)),
      projection: (name, spec, i, e) => trainable(name, initial.projection(spec, i, e)),
    });
  }

  /** Throws BAD_STITCH where a tensor is missing or has another shape. */
  static load(
    device: Device,
    placement: Placement,
    index: number,
    design: StitchDesign,
    stored: StoredWeights,
  ): StitchLayer {
    const { members, gateWidth } = design.shape;
    return new StitchLayer(placement, index, design, {
      gate: (name, { shape }) => loadParameter(device, stored, name, [members, ...shape]),
      gateBias: (name) => loadParameter(device, stored, name, [members, gateWidth]),
      projection: (name, { shape }) => loadParameter(device, stored, name, shape),
    });
  }

  /** The same stitch over some of the members, member 0 among them. Its projections share the memory of this one's. */
  select(device: Device, members: readonly number[], { trainable = false } = {}): StitchLayer {
    const design = this.withShape({ members: members.length });
    const { gate, gateBias, proj } = this.weights;
    const parameter = (name: string, value: Tensor) =>
      trainable ? Parameter.trainable(device, name, value) : new Parameter(name, value);
    const slices = ({ whole: { value } }: GateWeight) =>
      joined(
        device,
        [members.length, ...value.shape.slice(1)],
        members.map((m) => () => value.slice(m)),
      );
    return new StitchLayer(this.placement, this.index, design, {
      gate: (name, _, i) => parameter(name, slices(gate[i]!)),
      gateBias: (name) => parameter(name, slices(gateBias!)),
      projection: (name, _, i, e) => parameter(name, proj[i]![members[e + 1]! - 1]!.value.share()),
    });
  }

  /**
   * The stitch with more experts, trainable. What was there is kept, and what it computes, to the bit: a gate bias shuts the
   * new experts out of every merge until `openTo` lets them in.
   */
  grow(device: Device, added: number): StitchLayer {
    const { members, gateWidth } = this.design.shape;
    const design = this.withShape({ members: members + added, gateBias: true });
    const { gate, gateBias, proj } = this.weights;
    const trainable = (name: string, value: Tensor) => Parameter.trainable(device, name, value);
    const initial = initialWeights(device, 0, this.index);
    const { shape } = design;
    const slices = (kept: () => Tensor, slice: (m: number) => Tensor) => [
      kept,
      ...Array.from({ length: added }, (_, i) => () => slice(members + i)),
    ];
    return new StitchLayer(this.placement, this.index, design, {
      gate: (name, spec, i) => {
        const all = slices(
          () => gate[i]!.whole.value.share(),
          (m) => initial.gate(spec, i, m),
        );
        return trainable(name, joined(device, [shape.members, ...spec.shape], all));
      },
      gateBias: (name) => {
        const all = slices(
          () => gateBias?.whole.value.share() ?? device.full([members, gateWidth], 0),
          () => device.full([1, gateWidth], this.direction.addedBias?.shut ?? 0),
        );
        return trainable(name, joined(device, [shape.members, gateWidth], all));
      },
      projection: (name, spec, i, e) => trainable(name, proj[i]![e]?.value.share() ?? initial.projection(spec, i, e)),
    });
  }

  /** Lets members that are shut out be heard a little, so that gradients reach their gates. */
  openTo(device: Device, members: readonly number[]): void {
    const { addedBias } = this.direction;
    const { gateBias } = this.weights;
    if (!addedBias || !gateBias) return;
    for (const m of members) {
      using bias = gateBias.whole.value.slice(m);
      device.run('fill', { y: bias, value: addedBias.ajar });
    }
  }

  /** What belongs to some of the experts alone: their slices of the gates, which share their memory, and their projections. */
  partsOf(members: readonly number[]): Parameter[] {
    const { gate, gateBias, proj } = this.weights;
    const slices = ({ whole }: GateWeight) =>
      whole.gradient
        ? members.map((m) => new Parameter(`${whole.name}[${m}]`, whole.value.slice(m), whole.gradient!.slice(m)))
        : [];
    const projections = members.flatMap((m) => proj.map((experts) => experts[m - 1]!));
    const shared = projections.map(
      ({ name, value, gradient }) => new Parameter(name, value.share(), gradient?.share()),
    );
    return [...gate.flatMap(slices), ...(gateBias ? slices(gateBias) : []), ...shared];
  }

  /**
   * Who has which rows of the parameters where each member has a device of its own. The hub computes all gates where it has
   * one itself, else each expert its own: what the file has in the hub's place is then the hub's, and nobody's gate.
   */
  get spread(): SpreadWeight[] {
    const { gate, gateBias, proj } = this.weights;
    const gates = new Set([...gate, ...(gateBias ? [gateBias] : [])].map(({ whole }) => whole));
    const all = (rank: number, { value }: Parameter): Rows[] => [{ rank, first: 0, last: value.shape[0]! }];
    const rowsOf = (parameter: Parameter): Rows[] => {
      if (!gates.has(parameter))
        return all(proj.findLast((experts) => experts.includes(parameter))!.indexOf(parameter) + 1, parameter);
      if (this.direction.firstGated === 0) return all(0, parameter);
      return Array.from({ length: this.design.shape.members }, (_, m) => ({ rank: m, first: m, last: m + 1 }));
    };
    return this.parameters.map((parameter) => {
      return { name: parameter.name, shape: parameter.value.shape, rows: rowsOf(parameter) };
    });
  }

  /** What one member holds of it where each has a device of its own, trainable as this is. It outlives this one. */
  partOf(device: Device, member: number): StitchPart {
    const { gate, gateBias, proj } = this.weights;
    const made: Parameter[] = [];
    const own = new Map<Parameter, Parameter>();
    try {
      for (const [i, { rows }] of this.spread.entries()) {
        const { name, value, gradient } = this.parameters[i]!;
        for (const { first, last } of rows.filter(({ rank }) => rank === member)) {
          const isWhole = last - first === value.shape[0];
          const part = isWhole
            ? value.share()
            : joined(device, [last - first, ...value.shape.slice(1)], [() => value.slice(first, last)]);
          made.push(gradient ? Parameter.trainable(device, name, part) : new Parameter(name, part));
          own.set(this.parameters[i]!, made.at(-1)!);
        }
      }
      const isHub = member === 0;
      const hasGates = isHub === (this.direction.firstGated === 0);
      const ofGate = ({ whole }: GateWeight) => new GateWeight(own.get(whole)!, 0);
      const weights = {
        gate: hasGates ? gate.map(ofGate) : [],
        gateBias: hasGates && gateBias ? ofGate(gateBias) : undefined,
        proj: isHub ? [] : proj.map((experts) => [own.get(experts[member - 1]!)!]),
      };
      return new StitchPart(this.placement, this.index, this.design, weights, made);
    } catch (error) {
      for (const parameter of made) parameter.dispose();
      throw error;
    }
  }

  /** All members behind the stitch, of h [M, N, C]. By the fused op of its direction where the kind has one. */
  forward(scope: Scope, h: Tensor, pass: StitchPass): StitchResult {
    const { kind, shape } = this.design;
    if (kind.fused) return this.direction.fused(scope, h, kind.fused(this.weights), pass);
    if (shape.members > 1) return this.direction.composed(scope, h, kind, this.weights, pass);
    // A hub alone goes on as it is, with all weight where it has a gate.
    const gates = () =>
      scope.track(scope.device.full([h.shape[1]!, 1, shape.gateWidth], 1 - this.direction.firstGated));
    return { h, gates };
  }

  private withShape(changed: Partial<StitchDesign['shape']>): StitchDesign {
    return { ...this.design, shape: { ...this.design.shape, ...changed } };
  }

  [Symbol.dispose](): void {
    const { gate, gateBias } = this.weights;
    for (const weight of gateBias ? [...gate, gateBias] : gate) weight[Symbol.dispose]();
    for (const parameter of this.parameters) parameter.dispose();
  }
}

// e^-12 = 6e-6: experts move logits by some 1e-5 of their size at first, yet gradients reach their gates.
const HUB_ADVANTAGE = 12;

function hubBias(device: Device, members: number, gateWidth: number): Tensor {
  const data = new Float32Array(members * gateWidth).fill(-HUB_ADVANTAGE);
  data.fill(0, 0, gateWidth);
  return device.tensor(data, [members, gateWidth]);
}

/** The weights that a member begins with, different for each of them. */
function initialWeights(device: Device, seed: number, index: number) {
  return {
    /** [1, rows, columns] */
    gate: ({ shape, initial }: WeightSpec, i: number, m: number): Tensor => {
      using value = initial(device, hash32(seed, index, m, 2 * i));
      return value.reshape(1, ...shape);
    },
    projection: ({ initial }: WeightSpec, i: number, e: number): Tensor =>
      initial(device, hash32(seed, index, e + 1, 2 * i + 1)),
  };
}

/** Tensors one behind the other along their leading axis, each made for a moment. */
function joined(device: Device, shape: readonly number[], parts: readonly (() => Tensor)[]): Tensor {
  const all = device.empty(shape);
  try {
    let at = 0;
    for (const part of parts) {
      using from = part();
      const end = at + from.shape[0]!;
      using to = all.slice(at, end);
      device.run('convert', { y: to, x: from });
      at = end;
    }
    return all;
  } catch (error) {
    all.dispose();
    throw error;
  }
}
