import { expectMemory } from '../base/memory.js';
import type { BatchShape } from '../data/packing.js';
import type { Recompute } from '../model/cost/cost.js';
import type { LanguageModel } from '../model/language-model.js';

export interface StepShape extends BatchShape {
  /** Batches whose gradients make one update. */
  accumulation: number;
  recompute: Recompute;
}

/** Of the memory that is available: what ops need for a moment, and other programs, take some, too. */
const SHARE = 0.8;

/** Of a token in a batch: input and target. */
const TOKEN_BYTES = 8;
/** Of a batch itself, and of each of its rows. */
const BATCH_BYTES = 512;
const ROW_BYTES = 256;

/** Throws OUT_OF_MEMORY where an update takes more than there can be, before anything is done for it. */
export function expectStepRoom(model: Pick<LanguageModel, 'device' | 'trainingBytes'>, shape: StepShape): void {
  const { batchSize: batch, sequenceLength: tokens, accumulation, recompute } = shape;
  const what = `a training step of ${batch} x ${tokens} tokens`;
  model.device.expectRoom(model.trainingBytes({ batch, tokens, recompute }), what);
  const held = BATCH_BYTES + batch * (ROW_BYTES + TOKEN_BYTES * tokens);
  expectMemory(accumulation * held, `holding ${accumulation} batches for one update`);
}

/**
 * Bytes of what is inside of layers that a training step may keep for gradients, in place of computing it again: none, all, or
 * what there is room for now beside the rest.
 */
export function bytesToKeep(model: Pick<LanguageModel, 'device' | 'trainingBytes'>, shape: StepShape): number {
  const { batchSize: batch, sequenceLength: tokens, recompute } = shape;
  if (recompute !== 'auto') return recompute === 'always' ? 0 : Number.POSITIVE_INFINITY;
  const { device } = model;
  const [least, most] = (['always', 'never'] as const).map((recompute) =>
    model.trainingBytes({ batch, tokens, recompute }),
  ) as [number, number];
  const room = device.memory().liveBytes + SHARE * device.availableBytes - least;
  return most - least <= room ? Number.POSITIVE_INFINITY : Math.max(0, room);
}
