import type { TensorEntry } from '../../checkpoint/safetensors.js';
import { hash32 } from '../../data/random.js';
import { BtsError } from '../../errors.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import type { ExpertPart } from '../system-cost.js';

/** What is put beside the experts of one part of one layer. */
export interface MixtureWeights {
  /** [M, C] */
  router: Parameter;
  /** M x [C, C] on the experts' outputs, or none. */
  adapters: readonly Parameter[];
}

export interface MixtureSize {
  layers: number;
  members: number;
  width: number;
  parts: readonly ExpertPart[];
  adapters: boolean;
}

const ROUTER_DEVIATION = 0.02;

/** Routers and adapters of all layers. */
export class MixtureLayers implements Disposable {
  private readonly layers: ReadonlyMap<ExpertPart, MixtureWeights>[];
  readonly parameters: readonly Parameter[];

  private constructor(size: MixtureSize, create: (name: string, shape: number[]) => Parameter) {
    const { layers, members, width, parts, adapters } = size;
    const made: Parameter[] = [];
    this.parameters = made;
    const make = (name: string, shape: number[]): Parameter => {
      made.push(create(name, shape));
      return made.at(-1)!;
    };
    try {
      this.layers = Array.from({ length: layers }, (_, layer) => {
        const weights = (part: ExpertPart): MixtureWeights => {
          const name = `layers.${layer}.${part}`;
          const router = make(`${name}.router.weight`, [members, width]);
          const count = adapters ? members : 0;
          const own = Array.from({ length: count }, (_, m) => make(`${name}.adapter.${m}.weight`, [width, width]));
          return { router, adapters: own };
        };
        return new Map(parts.map((part) => [part, weights(part)]));
      });
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Routers nearly indifferent, adapters identities: usable untrained. */
  static create(device: Device, size: MixtureSize, seed: number): MixtureLayers {
    let index = 0;
    return new MixtureLayers(size, (name, shape) => {
      const value = device.full(shape, 0);
      if (name.endsWith('router.weight')) {
        const options = { deviation: ROUTER_DEVIATION, seed: hash32(seed, index++) };
        device.run('fill_normal', { y: value.native, ...options });
      } else {
        using one = device.tensor(identity(size.width), shape);
        device.run('convert', { y: value.native, x: one.native });
      }
      return Parameter.trainable(device, name, value);
    });
  }

  /** Throws BAD_STITCH where a tensor is missing or has another shape. */
  static load(
    device: Device,
    size: MixtureSize,
    { tensors, trainable }: { tensors: ReadonlyMap<string, TensorEntry>; trainable: boolean },
  ): MixtureLayers {
    return new MixtureLayers(size, (name, shape) => loadParameter(device, tensors, { name, shape, trainable }));
  }

  at(layer: number, part: ExpertPart): MixtureWeights {
    return this.layers[layer]!.get(part)!;
  }

  [Symbol.dispose](): void {
    for (const parameter of this.parameters) parameter[Symbol.dispose]();
  }
}

/** A trained f32 weight as it was written. Throws BAD_STITCH where it is missing or has another shape. */
export function loadParameter(
  device: Device,
  tensors: ReadonlyMap<string, TensorEntry>,
  { name, shape, trainable }: { name: string; shape: readonly number[]; trainable: boolean },
): Parameter {
  const entry = tensors.get(name);
  if (entry?.dtype !== 'F32' || `${entry.shape}` !== `${shape}`) {
    const came = entry ? `${entry.dtype} [${entry.shape}]` : 'nothing';
    throw new BtsError('BAD_STITCH', `${name} must be F32 [${shape}], there is ${came}.`);
  }
  const value = device.load(entry.path, entry.offset, shape, 'f32');
  return trainable ? Parameter.trainable(device, name, value) : new Parameter(name, value);
}

function identity(width: number): Float32Array {
  const data = new Float32Array(width * width);
  for (let i = 0; i < width; i++) data[i * width + i] = 1;
  return data;
}
