import type { ModelConfig } from '../checkpoint/config.js';
import type { DenseCheckpoint } from '../checkpoint/dense-checkpoint.js';
import { type LayerRole, type ParameterSpec, parameterNames, type Role } from '../checkpoint/names.js';
import { hash32, hashName } from '../data/random.js';
import { BtsError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import { Parameter } from '../tensor/parameter.js';
import { MEMORY_DTYPES } from './save.js';
import type { SharedTensors } from './shared-tensors.js';

/** Which parameters of a dense model are trained. */
export type Trainable = (spec: ParameterSpec) => boolean;

/** What a stitched model reads of its experts: all but what turns hidden states into logits. */
export const withoutHead: Trainable = ({ role }) => role !== 'finalNorm' && role !== 'head';

export interface MemberOptions {
  /** Default: none. */
  trainable?: Trainable;
  /** Which parameters are loaded; default all. */
  present?: Trainable;
  /** Where frozen weights are held that several members have. */
  shared?: SharedTensors;
}

/** The weights of one dense model, or of the part of one. */
export class Member implements Disposable {
  private readonly outer = new Map<Role, Parameter>();
  private readonly layers: Partial<Record<LayerRole, Parameter>>[];
  /** All weights, in the order of `parameterNames`. */
  readonly parameters: readonly Parameter[];

  /** @param present which parameters there are; default all */
  constructor(
    readonly config: ModelConfig,
    create: (spec: ParameterSpec) => Parameter,
    present: Trainable = () => true,
  ) {
    this.layers = Array.from({ length: config.layers }, () => ({}));
    const parameters: Parameter[] = [];
    this.parameters = parameters;
    try {
      for (const spec of parameterNames(config).filter(present)) {
        const parameter = create(spec);
        parameters.push(parameter);
        if (spec.layer === null) this.outer.set(spec.role, parameter);
        else this.layers[spec.layer]![spec.role as LayerRole] = parameter;
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Loads a checkpoint's weights. Frozen ones keep the precision of the file; trainable ones become f32.
   * Throws OUT_OF_MEMORY, FILE_IO, BAD_CHECKPOINT.
   */
  static async load(
    device: Device,
    checkpoint: DenseCheckpoint & { contents?: ReadonlyMap<string, string> },
    { trainable = () => false, present, shared }: MemberOptions = {},
  ): Promise<Member> {
    const create = (spec: ParameterSpec) => {
      const { path, offset, shape, dtype } = checkpoint.tensors.get(spec.name)!;
      const load = () => device.load(path, offset, shape, MEMORY_DTYPES[dtype]!);
      const content = checkpoint.contents?.get(spec.name);
      if (!trainable(spec)) {
        return new Parameter(spec.name, shared && content !== undefined ? shared.get(content, load) : load());
      }
      const stored = load();
      if (stored.dtype === 'f32') return Parameter.trainable(device, spec.name, stored);
      using narrow = stored;
      const value = device.empty(shape);
      device.run('convert', { y: value, x: narrow });
      return Parameter.trainable(device, spec.name, value);
    };
    const member = new Member(checkpoint.config, create, present);
    try {
      await Promise.all(member.parameters.map(({ value }) => value.settled()));
    } catch (error) {
      member[Symbol.dispose]();
      throw error;
    }
    return member;
  }

  /** New weights: normal with deviation 0.02, residual projections scaled down by sqrt(2 L), norms 1, biases 0. */
  static create(device: Device, config: ModelConfig, seed: number): Member {
    return new Member(config, (spec) => {
      const norm = /norm/i.test(spec.role);
      const value = device.full(spec.shape, norm ? 1 : 0);
      if (!norm && !spec.role.endsWith('Bias')) {
        const residual = spec.role === 'output' || spec.role === 'down';
        const deviation = residual ? 0.02 / Math.sqrt(2 * config.layers) : 0.02;
        device.run('fill_normal', { y: value, deviation, seed: hash32(seed, hashName(spec.name)) });
      }
      return Parameter.trainable(device, spec.name, value);
    });
  }

  layer(index: number): Partial<Record<LayerRole, Parameter>> {
    return this.layers[index]!;
  }

  shared(role: Exclude<Role, LayerRole>): Parameter {
    return this.outer.get(role)!;
  }

  [Symbol.dispose](): void {
    for (const parameter of this.parameters) parameter[Symbol.dispose]();
  }
}

// What may differ between members that run in lockstep, and what the checkpoint says of itself rather than of the model.
export const FREE: readonly (keyof ModelConfig)[] = [
  'family',
  'rope',
  'maxPositions',
  'bosToken',
  'eosTokens',
  'dtype',
  'tiedEmbeddings',
];

/** Throws MEMBERS_DIFFER, naming every difference, unless all configurations can run in lockstep with the first. */
export function expectSameShape(members: readonly { name: string; config: ModelConfig }[]): void {
  const [hub, ...experts] = members;
  const differences = experts.flatMap(({ name, config }) =>
    (Object.keys(hub!.config) as (keyof ModelConfig)[])
      .filter((key) => !FREE.includes(key) && config[key] !== hub!.config[key])
      .map((key) => `${name} has ${key} ${config[key]}, the hub ${hub!.config[key]}`),
  );
  if (differences.length > 0) {
    throw new BtsError('MEMBERS_DIFFER', `hub and experts must have one shape, but ${differences.join('; ')}.`);
  }
}
