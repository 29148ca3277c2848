import type { Batch } from '../lib/data/packing.js';
import type { LanguageModel } from '../lib/model/language-model.js';
import { Scope } from '../lib/tensor/scope.js';
import { AdamW } from '../lib/train/adamw.js';

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
  // With moments that forget at once and an epsilon that outweighs them, an update is a step along the gradient.
  const epsilon = 1e8;
  using mover = new AdamW(device, model.trainable, { beta1: 0, beta2: 0, epsilon, weightDecay: 0, clipNorm: Infinity });
  mover.zeroGradients();
  {
    using scope = Scope.recording(device);
    scope.backward(await model.trainingLoss(scope, batch, batch.targets.length, 0));
  }
  using norm = mover.gradientNorm();
  const length = await norm.item();
  const lossAfter = async (distance: number) => {
    mover.update(norm, (-distance * epsilon) / length);
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
