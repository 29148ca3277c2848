import { Random } from '../lib/base/random.js';
import { type StitchedShape, stitchedCost } from '../lib/model/cost/cost.js';
import { StitchedModel } from '../lib/model/stitched-model.js';
import type { QuantizedType } from '../lib/tensor/addon.js';
import type { Device } from '../lib/tensor/device.js';
import type { BenchOptions } from './bench.js';
import { type Precision, randomAdapters, randomModels } from './models.js';
import { configOf, EXPERTS, type Size, STITCHES } from './sizes.js';

export interface Shape extends Size {
  experts?: number;
  stitches?: number;
}

/**
 * Random models of one shape, stitched, with stitches that are not at their starting point. With `rank` the experts are adapters
 * of the hub.
 */
export async function openStitched(
  device: Device,
  shape: Shape,
  dtype: Precision,
  rank?: number,
  members?: QuantizedType,
): Promise<StitchedModel> {
  const { experts = EXPERTS, stitches = STITCHES } = shape;
  const [hub, ...models] = await randomModels(shape, dtype, rank === undefined ? experts + 1 : 1);
  const rest = rank === undefined ? models : await randomAdapters(shape, dtype, experts, rank, hub!);
  const named = Object.fromEntries(rest.map((folder, index) => [`expert${index + 1}`, folder]));
  const model = await StitchedModel.create(device, { hub: hub!, experts: named, stitches, members });
  const { width } = shape;
  model.trainable.forEach(({ value, name }, index) => {
    using noise = device.empty(value.shape);
    device.run('fill_normal', { y: noise, deviation: 1 / Math.sqrt(width), seed: index + 1 });
    // Gates begin at zero, projections as the identity.
    device.run('add_scaled', { y: value, x: noise, scale: name.includes('.gate.') ? 1 : 0.5 });
  });
  return model;
}

/** A batch of random tokens. */
export function randomBatch({ batch, tokens, vocabularySize }: Size) {
  const random = new Random(0, 'bench');
  const draw = () => Int32Array.from({ length: batch * tokens }, () => random.below(vocabularySize));
  return { inputs: draw(), targets: draw(), batch, tokens };
}

export function costOf(model: StitchedModel, shape: Shape, dtype: Precision) {
  const config = configOf(shape, dtype === 'bf16' ? 'BF16' : 'F32');
  const members = model.memberNames.map(() => config);
  return stitchedCost({ ...model.manifest, members } satisfies StitchedShape, shape);
}

/** What adapters were asked for; undefined: whole models. */
export const rankOf = ({ experts, rank }: Pick<BenchOptions, 'experts' | 'rank'>) =>
  experts === 'adapters' ? rank : undefined;
