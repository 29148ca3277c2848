/**
 * What is measured is right first. A device that computes in f32 is held to what must be so of its own results; one that
 * computes in bf16 to the results of such a device, as close as a naive computation in bf16 comes to them. That is done on a
 * part of the model, which has all of its shapes and so all of its kernels, and takes seconds where the whole takes minutes.
 */
import type { Batch } from '../lib/data/packing.js';
import type { LanguageModel } from '../lib/model/language-model.js';
import { Device } from '../lib/tensor/device.js';
import type { Parameter } from '../lib/tensor/parameter.js';
import { Scope } from '../lib/tensor/scope.js';
import { openNaive } from '../test/support/naive-bf16.js';
import type { Precision } from './models.js';
import { STITCHES } from './sizes.js';
import { openStitched, randomBatch, type Shape } from './stitched.js';

/** How far each parameter is moved to see the loss's slope. */
const DISTANCE = 0.05;
// Of the slope: what curvature of a higher order on the way and losses in f32 leave of it.
const SLOPE_TOLERANCE = 2e-3;
// Of logits in f32 whose sums come in another order.
const F32_TOLERANCE = 1e-3;
// As ops are judged: twice the error of the naive computation.
const TIMES_NAIVE = 2;
/** Tokens that are decoded one by one. */
const STEPPED = 4;
const PROMPT = 64;

/** What is verified in the place of a model of the shape: a layer for each stitch, few tokens, few words. */
export function partOf(shape: Shape): Shape {
  const { stitches = STITCHES, batch, tokens, vocabularySize } = shape;
  return {
    ...shape,
    layers: stitches,
    batch: Math.min(batch, 2),
    tokens: Math.min(tokens, PROMPT),
    vocabularySize: Math.min(vocabularySize, 4096),
  };
}

/** How far one vector is from another, of the other's length. */
export function distance(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [off, length] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    off += (got[i]! - want[i]!) ** 2;
    length += want[i]! ** 2;
  }
  return Math.sqrt(off / length);
}

export const isF32 = ({ precision }: Device): boolean => precision === 'f32';
/** What a bf16 device is compared with. */
export const openTruth = (): Device => Device.open('cpu', { precision: 'f32' });

/** Throws unless a distance from the truth is at most twice that of the naive computation. */
export function expectClose(what: string, got: number, naive: number): void {
  if (got <= TIMES_NAIVE * naive) return;
  throw new Error(`${what} is off by ${got} of its length, a naive computation in bf16 by ${naive}`);
}

/** Throws unless the gradients of the stitches are right on this device, in a part of a model of the shape. */
export async function verifyGradients(
  device: Device,
  shape: Shape,
  dtype: Precision,
  { recompute = false } = {},
): Promise<void> {
  const part = partOf(shape);
  const batch = randomBatch(part);
  if (isF32(device)) {
    using model = await openStitched(device, part, dtype);
    return await verifySlope(model, batch, recompute);
  }
  using cpu = openTruth();
  using model = await openStitched(cpu, part, dtype);
  await differentiate(model, batch);
  using rounding = openNaive(device);
  const errors = (device: Device) => gradientErrors(device, { shape: part, dtype, batch, recompute }, model.trainable);
  const [naive, got] = [await errors(rounding), await errors(device)];
  for (const [name, error] of got) expectClose(`the gradient of ${name}`, error, naive.get(name)!);
}

/** How far the gradients that a device computes are from those given, by parameter. */
async function gradientErrors(
  device: Device,
  { shape, dtype, batch, recompute }: { shape: Shape; dtype: Precision; batch: Batch; recompute: boolean },
  truth: readonly Parameter[],
): Promise<Map<string, number>> {
  using model = await openStitched(device, shape, dtype);
  await differentiate(model, batch, recompute);
  const errors = new Map<string, number>();
  for (const [i, { name, gradient }] of model.trainable.entries()) {
    errors.set(name, distance(await gradient!.read(), await truth[i]!.gradient!.read()));
  }
  return errors;
}

async function differentiate(model: LanguageModel, batch: Batch, recompute = false): Promise<void> {
  using scope = Scope.recording(model.device, { keep: recompute ? 0 : Number.POSITIVE_INFINITY });
  scope.backward(await model.trainingLoss(scope, batch, batch.targets.length, 0));
}

/**
 * Throws unless the gradients are the slope of the loss: where every parameter moves along its own by the same distance, the
 * loss must rise by the sum of their lengths. The loss comes from the forward pass alone, from two distances, so that
 * curvature cancels.
 */
async function verifySlope(model: LanguageModel, batch: Batch, recompute: boolean): Promise<void> {
  const { device } = model;
  await differentiate(model, batch, recompute);
  const lengths: number[] = [];
  for (const { name, gradient } of model.trainable) {
    using norm = device.empty([1]);
    device.run('global_norm', { norm, gradients: [gradient!] });
    const length = await norm.item();
    if (!(length > 0)) throw new Error(`the gradient of ${name} has length ${length}`);
    lengths.push(length);
  }
  const lossAfter = async (distance: number) => {
    for (const [i, { value, gradient }] of model.trainable.entries()) {
      device.run('add_scaled', { y: value, x: gradient!, scale: distance / lengths[i]! });
    }
    return await model.loss(batch);
  };
  const slope = async (distance: number) => {
    const above = await lossAfter(distance);
    const below = await lossAfter(-2 * distance);
    await lossAfter(distance);
    return (above - below) / (2 * distance);
  };
  const found = (4 * (await slope(DISTANCE / 2)) - (await slope(DISTANCE))) / 3;
  const expected = lengths.reduce((sum, length) => sum + length, 0);
  if (!(Math.abs(found - expected) <= SLOPE_TOLERANCE * expected)) {
    throw new Error(`gradients of lengths ${expected} in all came for a loss that rises by ${found} along them`);
  }
}

/**
 * Throws unless a part of a model of the shape gives the logits of a pass over the whole text with a cache, too: those of the
 * last tokens come one by one.
 */
export async function verifyDecoding(device: Device, shape: Shape, dtype: Precision): Promise<void> {
  const part = { ...partOf(shape), batch: 1, tokens: PROMPT };
  const ids = [...randomBatch(part).inputs];
  const last = async (model: LanguageModel) => (await model.logits(ids)).slice(-STEPPED * part.vocabularySize);
  const opened = async (device: Device) => {
    using model = await openStitched(device, part, dtype);
    return await last(model);
  };
  using model = await openStitched(device, part, dtype);
  using cache = model.createCache(1, PROMPT);
  await model.extend(cache, ids.slice(0, -STEPPED));
  const stepped: number[] = [];
  for (const id of ids.slice(-STEPPED)) stepped.push(...(await model.extend(cache, [id])));
  const whole = await last(model);

  if (isF32(device)) {
    const off = distance(stepped, whole);
    if (!(off <= F32_TOLERANCE)) throw new Error(`logits with the cache are off by ${off} of their length`);
    return;
  }
  using cpu = openTruth();
  const truth = await opened(cpu);
  using rounding = openNaive(device);
  const naive = distance(await opened(rounding), truth);
  expectClose('logits without the cache', distance(whole, truth), naive);
  expectClose('logits with the cache', distance(stepped, truth), naive);
}
