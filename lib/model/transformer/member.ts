import { type Abortable, BtsError, throwIfAborted } from '../../base/errors.js';
import { hash32, hashName } from '../../base/random.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { type LayerRole, type ParameterSpec, parameterNames, type Role, rolesOf } from '../../checkpoint/names.js';
import { contentOf, isPacked } from '../../checkpoint/packed/matrix.js';
import { isQuantized, type QuantizedType } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import { type LowRank, Parameter } from '../../tensor/parameter.js';
import type { Tensor } from '../../tensor/tensor.js';
import { hasOwnCodes, loadWidened } from './load-packed.js';
import { loadLowRank, loadQuantized, loadStored, loadWhole } from './load-weight.js';
import { heldIn } from './quantization.js';
import type { SharedTensors } from './shared-tensors.js';

/** Which parameters of a dense model are trained. */
export type Trainable = (spec: ParameterSpec) => boolean;

/** What a stitched model reads of its experts: all but what turns hidden states into logits. */
export const withoutHead: Trainable = (spec) => !rolesOf(spec).some((role) => role === 'finalNorm' || role === 'head');

/** What is added to a frozen matrix of a checkpoint. */
export type LowRankOf = (device: Device, spec: ParameterSpec, checkpoint: DenseCheckpoint) => LowRank | undefined;

const storedLowRank: LowRankOf = (device, { name }, { adapter }) => {
  const stored = adapter?.lowRank.get(name);
  return stored && loadLowRank(device, stored);
};

/** The same, to be trained. */
export const trainedLowRank: LowRankOf = (device, { name }, { adapter }) => {
  const stored = adapter?.lowRank.get(name);
  return stored && loadLowRank(device, stored, true);
};

export interface MemberOptions extends Abortable {
  /** Default: none. */
  trainable?: Trainable;
  /** Which parameters are loaded; default all. */
  present?: Trainable;
  /** What frozen matrices are held in; default: what their file has. */
  quantized?: QuantizedType | undefined;
  /** Whether the model is one to be written whole: what an adapter adds becomes part of frozen weights, too, and codes become floats. */
  merged?: boolean | undefined;
  /** What is added to a frozen matrix; default what the checkpoint's adapter adds. */
  lowRank?: LowRankOf | undefined;
  /** Where frozen weights are held that several members have. */
  shared?: SharedTensors | undefined;
}

/** The weights of one dense model, or of the part of one. */
export class Member implements Disposable {
  private readonly outer = new Map<Role, Parameter>();
  private readonly layers: Partial<Record<LayerRole, Parameter>>[];
  /** All weights as they are stored, in the order of `parameterNames`. */
  readonly parameters: readonly Parameter[];
  /** Of its weights, without those that another holds already. */
  readonly bytes: number;
  /** Handles on the parts of those that hold several weights. */
  private readonly parts: Parameter[] = [];

  /**
   * @param present which parameters there are; default all
   * @param borrowed of them another's
   */
  constructor(
    readonly config: ModelConfig,
    create: (spec: ParameterSpec) => Parameter,
    present: Trainable = () => true,
    borrowed: ReadonlySet<string> = new Set(),
  ) {
    this.layers = Array.from({ length: config.layers }, () => ({}));
    const parameters: Parameter[] = [];
    this.parameters = parameters;
    try {
      for (const spec of parameterNames(config).filter(present)) {
        const parameter = create(spec);
        parameters.push(parameter);
        for (const [role, weight] of this.weightsOf(spec, parameter)) {
          if (spec.layer === null) this.outer.set(role, weight);
          else this.layers[spec.layer]![role as LayerRole] = weight;
        }
      }
      const own = parameters.flatMap(({ name, value, adapter }) => [
        ...(borrowed.has(name) ? [] : [value]),
        ...(adapter ? [adapter.down.value, adapter.up.value] : []),
      ]);
      this.bytes = own.reduce((sum, { bytes }) => sum + bytes, 0);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The weights that a stored tensor holds: itself, or slices of it and of its gradient. */
  private weightsOf({ parts }: ParameterSpec, parameter: Parameter): [Role, Parameter][] {
    if (parts.length === 1) return [[parts[0]!.role, parameter]];
    let first = 0;
    return parts.map(({ role, rows }) => {
      const part = parameter.slice(first, first + rows);
      this.parts.push(part);
      first += rows;
      return [role, part];
    });
  }

  /**
   * Loads a checkpoint's weights. Frozen ones keep the precision of the file, and adapters stay what they are; trainable ones
   * become f32, with what an adapter adds to them; matrices are quantized where that is asked for.
   * Throws OUT_OF_MEMORY, FILE_IO, BAD_CHECKPOINT, ABORTED.
   */
  static async load(
    device: Device,
    checkpoint: DenseCheckpoint & { contents?: () => Promise<ReadonlyMap<string, string>> },
    {
      trainable = () => false,
      merged = false,
      quantized,
      shared,
      lowRank = storedLowRank,
      ...options
    }: MemberOptions = {},
  ): Promise<Member> {
    const contents = shared && (await checkpoint.contents?.());
    const borrowed = new Set<string>();
    const create = async (spec: ParameterSpec) => {
      if (trainable(spec))
        return Parameter.trainable(device, spec.name, await loadWhole(device, checkpoint, spec.name));
      if (merged && checkpoint.adapter?.lowRank.has(spec.name))
        return new Parameter(spec.name, await loadWhole(device, checkpoint, spec.name));
      const stored = checkpoint.tensors.get(spec.name)!;
      if (merged && isPacked(stored)) return new Parameter(spec.name, await loadWidened(device, stored));
      const dtype = hasOwnCodes(stored) ? undefined : heldIn(spec, quantized);
      const content = contents && `${contentOf(stored, contents)} ${dtype ?? ''}`;
      const load = () => (dtype ? loadQuantized(device, stored, dtype) : loadStored(device, stored));
      if (content !== undefined && shared!.has(content)) borrowed.add(spec.name);
      const value = content === undefined ? await load() : await shared!.get(content, load);
      try {
        return new Parameter(spec.name, value, undefined, lowRank(device, spec, checkpoint));
      } catch (error) {
        value.dispose();
        throw error;
      }
    };
    return await Member.gather(checkpoint.config, create, { ...options, borrowed });
  }

  /** Weights that are made one after another: what is queued could not be stopped. Throws ABORTED, and what making them throws. */
  static async gather(
    config: ModelConfig,
    create: (spec: ParameterSpec) => Parameter | Promise<Parameter>,
    {
      present = () => true,
      borrowed,
      signal,
    }: Pick<MemberOptions, 'present' | 'signal'> & { borrowed?: ReadonlySet<string> },
  ): Promise<Member> {
    const made = new Map<string, Parameter>();
    try {
      for (const spec of parameterNames(config).filter(present)) {
        throwIfAborted(signal, 'loading a model');
        const parameter = await create(spec);
        made.set(spec.name, parameter);
        await parameter.settled().catch((error) => {
          throw named(error, parameter);
        });
      }
      return new Member(config, ({ name }) => made.get(name)!, present, borrowed);
    } catch (error) {
      for (const parameter of made.values()) parameter.dispose();
      throw error;
    }
  }

  /** New weights: see `initialWeight`. */
  static create(device: Device, config: ModelConfig, seed: number): Member {
    return new Member(config, (spec) =>
      Parameter.trainable(device, spec.name, initialWeight(device, config, spec, seed)),
    );
  }

  layer(index: number): Partial<Record<LayerRole, Parameter>> {
    return this.layers[index]!;
  }

  shared(role: Exclude<Role, LayerRole>): Parameter {
    return this.outer.get(role)!;
  }

  [Symbol.dispose](): void {
    for (const parameter of [...this.parts, ...this.parameters]) parameter.dispose();
  }
}

/** What went wrong with a weight: an op that quantizes does not know whose numbers it has. */
function named(error: unknown, { name, value }: Parameter): unknown {
  if (!isQuantized(value.dtype) || !(error instanceof BtsError && error.code === 'BAD_CHECKPOINT')) return error;
  return new BtsError(error.code, `${name}: ${error.message}`, { cause: error });
}

/**
 * What a weight is before it is trained: normal with deviation 0.02, residual projections scaled down by sqrt(2 L), biases 0,
 * norms such that they multiply by 1.
 */
export function initialWeight(device: Device, config: ModelConfig, spec: ParameterSpec, seed: number): Tensor {
  const role = rolesOf(spec)[0]!;
  const norm = /norm/i.test(role);
  const value = device.full(spec.shape, norm ? 1 - config.norm.offset : 0);
  if (!norm && !role.endsWith('Bias')) {
    const residual = role === 'output' || role === 'down';
    const deviation = residual ? 0.02 / Math.sqrt(2 * config.layers) : 0.02;
    device.run('fill_normal', { y: value, deviation, seed: hash32(seed, hashName(spec.name)) });
  }
  return value;
}
