import { expectMemory } from '../base/memory.js';
import type { BatchShape } from '../data/packing.js';
import type { LanguageModel } from '../model/language-model.js';

export interface StepShape extends BatchShape {
  /** Batches whose gradients make one update. */
  accumulation: number;
  recompute: boolean;
}

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
