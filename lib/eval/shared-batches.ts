import type { Batch } from '../data/packing.js';
import { type HeldOutBatchOptions, heldOutBatches, IGNORED } from '../data/packing.js';
import type { TokenStream } from '../data/token-stream.js';
import type { Communicator } from '../tensor/communicator.js';

/** A batch of held-out text that this rank computes. */
export interface SharedBatch {
  batch: Batch;
  /** Which of the texts it is of. */
  text: number;
  /** Tokens of that text that are targets in it or before it. */
  targets: number;
}

/** The batches of several texts, dealt out to the ranks in turn: of all of them batch i is the one of rank i mod W. */
export async function* sharedBatches(
  texts: readonly TokenStream[],
  options: HeldOutBatchOptions,
  { rank, size }: Pick<Communicator, 'rank' | 'size'>,
): AsyncGenerator<SharedBatch> {
  let index = 0;
  for (const [text, stream] of texts.entries()) {
    let targets = 0;
    for await (const batch of heldOutBatches(stream, options)) {
      targets += batch.targets.reduce((count, target) => (target === IGNORED ? count : count + 1), 0);
      if (index++ % size === rank) yield { batch, text, targets };
    }
  }
}
