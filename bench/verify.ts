import type { Batch } from '../lib/data/packing.js';
import type { LanguageModel } from '../lib/model/language-model.js';
import { gradients } from '../lib/tensor/parameter.js';
import { Scope } from '../lib/tensor/scope.js';

/** How far the parameters are moved in each direction, as a distance. */
const DISTANCE = 0.05;
// Of the slope: what the curvature on the way and losses in f32, of products in bf16 perhaps, leave of it.
const TOLERANCE = 0.02;

/**
 * Throws unless the gradients are the slope of the loss: along their own direction it must rise by their length. The loss
 * comes from the forward pass alone. Leaves the parameters where they were, but for rounding.
 */
export async function verifyGradients(model: LanguageModel, batch: Batch): Promise<void> {
  const { device } = model;
  for (const { gradient } of model.trainable) device.run('fill', { y: gradient!, value: 0 });
  {
    using scope = Scope.recording(device);
    scope.backward(await model.trainingLoss(scope, batch, batch.targets.length, 0));
  }
  using norm = device.empty([1]);
  device.run('global_norm', { norm, gradients: gradients(model.trainable) });
  const length = await norm.item();
  const lossAfter = async (distance: number) => {
    for (const { value, gradient } of model.trainable) {
      device.run('add_scaled', { y: value, x: gradient!, scale: distance / length });
    }
    return await model.loss(batch);
  };
  const above = await lossAfter(DISTANCE);
  const below = await lossAfter(-2 * DISTANCE);
  await lossAfter(DISTANCE);
  const slope = (above - below) / (2 * DISTANCE);
  if (!(Math.abs(slope - length) <= TOLERANCE * length)) {
    throw new Error(`gradients of length ${length} came for a loss that rises by ${slope} along them`);
  }
}
