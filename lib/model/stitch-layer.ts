import type { TensorEntry } from '../checkpoint/safetensors.js';
import type { Placement } from '../checkpoint/stitch-manifest.js';
import { BtsError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import { Parameter } from '../tensor/parameter.js';
import type { StitchWeights } from '../tensor/stitch-ops.js';
import type { Tensor } from '../tensor/tensor.js';

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
    index: number,
    { members, width, gateWidth, gateBias }: StitchShape,
    create: (name: string, shape: number[]) => Parameter,
  ) {
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
      for (const parameter of made) parameter[Symbol.dispose]();
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
    { tensors, trainable }: { tensors: ReadonlyMap<string, TensorEntry>; trainable: boolean },
  ): StitchLayer {
    return new StitchLayer(placement, index, shape, (name, size) => {
      const entry = tensors.get(name);
      if (entry?.dtype !== 'F32' || `${entry.shape}` !== `${size}`) {
        const came = entry ? `${entry.dtype} [${entry.shape}]` : 'nothing';
        throw new BtsError('BAD_STITCH', `${name} must be F32 [${size}], there is ${came}.`);
      }
      const value = device.load(entry.path, entry.offset, size, 'f32');
      return trainable ? Parameter.trainable(device, name, value) : new Parameter(name, value);
    });
  }

  get parameters(): readonly Parameter[] {
    return [this.gate, ...(this.gateBias ? [this.gateBias] : []), ...this.proj];
  }

  [Symbol.dispose](): void {
    for (const parameter of this.parameters) parameter[Symbol.dispose]();
  }
}

function identity(device: Device, width: number): Tensor {
  const data = new Float32Array(width * width);
  for (let i = 0; i < width; i++) data[i * width + i] = 1;
  return device.tensor(data, [width, width]);
}

// e^-12 = 6e-6: experts move logits by some 1e-5 of their size at first, yet gradients reach their gates.
const HUB_ADVANTAGE = 12;

function hubBias(device: Device, { members, gateWidth }: StitchShape): Tensor {
  const data = new Float32Array(members * gateWidth).fill(-HUB_ADVANTAGE);
  data.fill(0, 0, gateWidth);
  return device.tensor(data, [members, gateWidth]);
}
