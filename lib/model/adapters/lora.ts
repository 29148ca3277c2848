/** LoRA (Hu et al. 2021): a frozen model, and beside some of its matrices two of low rank that are trained in their place. */
import type { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { commaList, count, positive, seed, text } from '../../base/schema.js';
import { ADAPTER_PREFIX, adaptedModules, isMatrixOfLayer, lowRankName, moduleOf } from '../../checkpoint/adapter.js';
import { type Adaptation, parseAdapterConfig } from '../../checkpoint/adapter-config.js';
import { newAdapterConfig } from '../../checkpoint/adapter-writer.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { type ParameterSpec, parameterNames } from '../../checkpoint/names.js';
import type { Device } from '../../tensor/device.js';
import { type LowRank, Parameter } from '../../tensor/parameter.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Every matrix in the layers, as PEFT calls them together. */
export const ALL_LINEAR = 'all-linear';

export const loraOptions = {
  /** R, of A [R, I] and B [O, R]. */
  rank: count().meta({ description: 'Train an adapter of this rank (LoRA), and leave the model as it is' }),
  /** What B A is multiplied with, over the rank; default the rank. */
  alpha: positive().optional().meta({ description: 'Of an adapter: B A counts alpha / rank (default: the rank)' }),
  /** Modules by the ends of their names; default `all-linear`, every matrix in the layers. */
  targets: commaList(text('a name'))
    .optional()
    .meta({
      description: `Of an adapter: ends of the names of what is adapted, such as q_proj,v_proj (default: ${ALL_LINEAR}, every matrix in the layers)`,
      argument: 'names',
    }),
  /** Of A, which begins random, while B begins with zeros; default 0. */
  seed: seed().meta({ description: 'Of what begins random' }),
};
/** A new adapter of low rank. */
export interface LoraOptions extends Omit<z.input<z.ZodObject<typeof loraOptions>>, 'targets'> {
  /** Modules by the ends of their names; default `all-linear`, every matrix in the layers. */
  targets?: string | readonly string[];
}

/** An adapter before there are numbers in it. */
export interface PlannedAdapter {
  /** Its adapter_config.json. */
  json: object;
  /** What is adapted, by the names of the base's tensors. */
  adaptations: ReadonlyMap<string, Adaptation>;
}

/**
 * The adapter that the options describe, of a base with this configuration. Throws BAD_OPTION where targets name nothing, or
 * what cannot be adapted.
 *
 * @param base what the base is called
 */
export function planLora(
  config: ModelConfig,
  base: string,
  { rank, alpha = rank, targets = [ALL_LINEAR] }: Omit<z.output<z.ZodObject<typeof loraOptions>>, 'seed'>,
): PlannedAdapter {
  const fail = (reason: string) => new BtsError('BAD_OPTION', `an adapter of '${base}': ${reason}.`);
  const isAll = targets.length === 1 && targets[0]!.toLowerCase() === ALL_LINEAR;
  const json = newAdapterConfig({ base, rank, alpha, targets: isAll ? matricesOfLayers(config) : targets });
  const modules = adaptedModules(config, parseAdapterConfig(json, fail), fail);
  return { json, adaptations: new Map([...modules].map(([module, said]) => [`${module}.weight`, said])) };
}

/** The names of the matrices of a layer, without what stands before them. */
function matricesOfLayers(config: ModelConfig): string[] {
  const modules = parameterNames(config).filter(isMatrixOfLayer);
  return [...new Set(modules.map(({ name }) => moduleOf(name).split('.').at(-1)!))];
}

/** Both matrices as training begins with them. Throws OUT_OF_MEMORY. */
export function startLowRank(
  device: Device,
  { name, shape: [outputs = 0, inputs = 0] }: ParameterSpec,
  { rank, scale }: Adaptation,
  seed: number,
): LowRank {
  const nameOf = (letter: 'A' | 'B') => ADAPTER_PREFIX + lowRankName(moduleOf(name), letter);
  const value = kaimingUniform(device, [rank, inputs], new Random(seed, nameOf('A')));
  const down = Parameter.trainable(device, nameOf('A'), value);
  try {
    return { down, up: Parameter.trainable(device, nameOf('B'), device.full([outputs, rank], 0)), scale };
  } catch (error) {
    down.dispose();
    throw error;
  }
}

/** As torch's `kaiming_uniform_(a=sqrt(5))`, which is what PEFT begins with: uniform within one by the root of the inputs. */
function kaimingUniform(device: Device, shape: readonly [number, number], random: Random): Tensor {
  const [rank, inputs] = shape;
  const bound = 1 / Math.sqrt(inputs);
  const data = Float32Array.from({ length: rank * inputs }, () => bound * ((2 * random.uint32() + 1) / 2 ** 32 - 1));
  return device.tensor(data, shape);
}
