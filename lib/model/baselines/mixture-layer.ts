import { hash32 } from '../../base/random.js';
import type { Device } from '../../tensor/device.js';
import { Parameter } from '../../tensor/parameter.js';
import { identity, loadParameter, type StoredWeights } from '../transformer/stored-parameter.js';
import type { ExpertPart } from './mixtures.js';

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
      if (!name.endsWith('router.weight')) return Parameter.trainable(device, name, identity(device, size.width));
      const value = device.empty(shape);
      const options = { deviation: ROUTER_DEVIATION, seed: hash32(seed, index++) };
      device.run('fill_normal', { y: value, ...options });
      return Parameter.trainable(device, name, value);
    });
  }

  /** Throws BAD_STITCH where a tensor is missing or has another shape. */
  static load(device: Device, size: MixtureSize, stored: StoredWeights): MixtureLayers {
    return new MixtureLayers(size, (name, shape) => loadParameter(device, stored, name, shape));
  }

  at(layer: number, part: ExpertPart): MixtureWeights {
    return this.layers[layer]!.get(part)!;
  }

  [Symbol.dispose](): void {
    for (const parameter of this.parameters) parameter.dispose();
  }
}
