import type { z } from 'zod';
import { throwIfAborted } from '../base/errors.js';
import { checkOptions } from '../base/options-check.js';
import { checkShape, heldOutBatches, IGNORED } from '../data/packing.js';
import { type HeldOutDomain, type HeldOutOptions, heldOutOptions, usualLength } from '../eval/held-out-loss.js';
import type { StitchedModel } from '../model/stitched-model.js';
import { GateSums, type MeanGates } from './gate-sums.js';

export const sampleOptions = {
  /** At most this many tokens of each domain; default 4096. */
  maxTokens: heldOutOptions.maxTokens.default(4096).meta({
    description: 'Held-out tokens of each domain to look at, at most',
  }),
};

export const gateOptions = { ...heldOutOptions, ...sampleOptions };
/** How much of held-out text is looked at. */
export interface GateOptions
  extends z.input<z.ZodObject<typeof sampleOptions>>,
    Omit<HeldOutOptions, keyof typeof sampleOptions | 'onProgress'> {}

/**
 * Which members each stitch listens to on which domain. Throws BAD_DATA, ABORTED.
 *
 * @param domains names and held-out text
 */
export async function meanGates(
  model: StitchedModel,
  domains: readonly HeldOutDomain[],
  options: GateOptions = {},
): Promise<MeanGates[]> {
  const checked = checkOptions('meanGates', gateOptions, options, { signal: true });
  const { sequenceLength = usualLength(model.config), batchSize, maxTokens, signal } = checked;
  checkShape({ sequenceLength, batchSize });
  model.expectPass({ batch: batchSize, tokens: sequenceLength });
  const means: MeanGates[] = [];
  for (const { name, heldOut } of domains) {
    const sums: GateSums[] = [];
    for await (const batch of heldOutBatches(heldOut, { sequenceLength, batchSize, maxTokens })) {
      throwIfAborted(signal, 'looking at gates');
      for (const [s, { placement, gates }] of (await model.trace(batch.inputs, batch.batch)).entries()) {
        sums[s] ??= new GateSums(placement, model.memberNames);
        const width = gates.length / batch.inputs.length;
        for (const [row, target] of batch.targets.entries()) {
          if (target !== IGNORED) sums[s].add(gates.subarray(row * width, (row + 1) * width));
        }
      }
    }
    for (const sum of sums) means.push({ domain: name, stitch: sum.stitch, ...sum.result() });
  }
  return means;
}
