import type { HeldOutLoss } from '../eval/held-out-loss.js';
import type { MeanGates } from '../gates/gate-sums.js';

/** What held-out text says of a model on its way; of a stitched one also what its gates do there. */
export interface HeldOutState {
  /** By domain. */
  losses: HeldOutLoss[];
  /** Of stitched models: by domain and stitch. */
  gates?: MeanGates[];
}

/** What a run reports as it goes. */
export type TrainEvent =
  /** Where a run goes on upon another number of ranks than it began with: an update is made of as many sequences as before. */
  | {
      type: 'resumed';
      step: number;
      ranks: number;
      /** Ranks that the run began with. */
      begun: number;
      /** Sequences of a batch, on all ranks together. */
      batch: number;
    }
  /** Before the first update, where text is held out: the losses that training starts from. */
  | ({ type: 'started'; step: 0 } & HeldOutState)
  | {
      type: 'step';
      step: number;
      /** Of this update's batches before it was made. */
      loss: number;
      gradientNorm: number;
      learningRate: number;
      tokensPerSecond: number;
      /**
       * Of several ranks: milliseconds that each one's device spent in sums of gradients, waiting for others included. The slowest
       * waits least.
       */
      sumsMs?: number[];
    }
  | ({ type: 'evaluation'; step: number } & HeldOutState)
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'stopped'; step: number; folder: string }
  | { type: 'finished'; step: number; folder: string };
