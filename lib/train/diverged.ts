import { join } from 'node:path';
import { overwrite } from '../base/overwrite.js';
import type { MixtureBatch } from '../data/mixture.js';

/** An update that was not made, as its loss or gradient is not finite, or its loss far worse than guessing. */
export class DivergedError extends Error {
  constructor(
    private readonly step: number,
    private readonly loss: number,
    private readonly gradientNorm: number,
    /** Those that did it, read again. */
    private readonly batches: () => Promise<readonly MixtureBatch[]>,
  ) {
    super('diverged');
  }

  /** Writes down the batch and says what happened and what to do. */
  async explain(training: string, checkpoint: string): Promise<string> {
    const file = join(training, `diverged-at-${this.step}.json`);
    const rows = (await this.batches()).flatMap(({ inputs, domains, tokens }) =>
      domains.map((domain, row) => ({ domain, inputs: [...inputs.subarray(row * tokens, (row + 1) * tokens)] })),
    );
    await overwrite(file, JSON.stringify(rows));
    return (
      `step ${this.step} came to a loss of ${this.loss} and a gradient norm of ${this.gradientNorm}; the update was not made. ` +
      `The batch that did it is in '${file}', the state before it in '${checkpoint}'. ` +
      'Lower the learning rate or lengthen the warm-up, or look at that batch.'
    );
  }
}
