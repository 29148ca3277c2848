import { type Abortable, throwIfAborted } from '../base/errors.js';
import { expectOptions } from '../base/options-check.js';
import type { Placement } from '../checkpoint/stitch-manifest.js';
import { checkShape, heldOutBatches, IGNORED } from '../data/packing.js';
import type { HeldOutDomain } from '../eval/held-out-loss.js';
import type { StitchedModel } from '../model/stitched-model.js';
import { type GateStatistics, GateSums } from './gate-sums.js';

export interface GateOptions extends Abortable {
  /** Default: 256, or what the model takes. */
  sequenceLength?: number;
  /** Default 8. */
  batchSize?: number;
  /** At most this many tokens of each domain; default 4096. */
  maxTokens?: number;
}

/** What one stitch does on the texts of one domain. */
export interface MeanGates extends GateStatistics {
  domain: string;
  stitch: Placement;
}

/** Which members each stitch listens to on which domain. Throws BAD_DATA, ABORTED. */
export async function meanGates(
  model: StitchedModel,
  domains: readonly HeldOutDomain[],
  options: GateOptions = {},
): Promise<MeanGates[]> {
  expectOptions('meanGates', options, { sequenceLength: true, batchSize: true, maxTokens: true, signal: true });
  const { batchSize = 8, maxTokens = 4096, signal } = options;
  const sequenceLength = options.sequenceLength ?? Math.min(256, model.config.maxPositions);
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
