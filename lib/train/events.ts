import type { HeldOutLoss } from '../eval/held-out-loss.js';

/** What a run reports as it goes. */
export type TrainEvent =
  /** Before the first update, where text is held out: the losses that training starts from. */
  | { type: 'started'; step: 0; losses: HeldOutLoss[] }
  | {
      type: 'step';
      step: number;
      /** Of this update's batches before it was made. */
      loss: number;
      gradientNorm: number;
      learningRate: number;
      tokensPerSecond: number;
    }
  | { type: 'evaluation'; step: number; losses: HeldOutLoss[] }
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'stopped'; step: number; folder: string }
  | { type: 'finished'; step: number; folder: string };
