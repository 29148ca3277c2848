/** Which rows of a run's batches a rank computes. */
import { BtsError } from '../base/errors.js';
import type { MixtureBatch, RowShare } from '../data/mixture.js';

/** The part of a batch of `of` rows that a rank computes: all ranks have as many, or one more. Throws BAD_OPTION where there are fewer rows than ranks. */
export function shareOf(of: number, { rank, size }: { rank: number; size: number }): RowShare {
  if (of < size) {
    throw new BtsError(
      'BAD_OPTION',
      `a batch of ${of} sequences cannot be shared out among ${size} ranks: start at most ${of}.`,
    );
  }
  return { of, first: Math.floor((rank * of) / size), last: Math.floor(((rank + 1) * of) / size) };
}

/** A batch in parts of at most `most` rows, which are computed one after another. */
export function parts(batch: MixtureBatch, most: number): MixtureBatch[] {
  const { inputs, targets, domains, tokens, firstRow = 0 } = batch;
  const found: MixtureBatch[] = [];
  for (let first = 0; first < batch.batch; first += most) {
    const last = Math.min(batch.batch, first + most);
    found.push({
      inputs: inputs.subarray(first * tokens, last * tokens),
      targets: targets.subarray(first * tokens, last * tokens),
      domains: domains.slice(first, last),
      batch: last - first,
      tokens,
      firstRow: firstRow + first,
    });
  }
  return found;
}
