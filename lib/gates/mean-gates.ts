import { type Abortable, throwIfAborted } from '../base/errors.js';
import { expectOptions } from '../base/options-check.js';
import type { Placement } from '../checkpoint/stitch-manifest.js';
import { checkShape, heldOutBatches, IGNORED } from '../data/packing.js';
import type { HeldOutDomain } from '../eval/held-out-loss.js';
import type { StitchedModel, StitchTrace } from '../model/stitched-model.js';

export interface GateOptions extends Abortable {
  /** Default: 256, or what the model takes. */
  sequenceLength?: number;
  /** Default 8. */
  batchSize?: number;
  /** At most this many tokens of each domain; default 4096. */
  maxTokens?: number;
}

/** What one stitch does on the texts of one domain. */
export interface MeanGates {
  domain: string;
  stitch: Placement;
  /**
   * By member, mean over tokens and channels. Into the hub: how much of each member is in it, 1 in all. Into the experts: how
   * much of each is replaced by the hub; the hub's own is 0.
   */
  gates: number[];
  /** Tokens that the means are over. */
  tokens: number;
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
    const sums: { stitch: Placement; gates: Float64Array }[] = [];
    let tokens = 0;
    for await (const batch of heldOutBatches(heldOut, { sequenceLength, batchSize, maxTokens })) {
      throwIfAborted(signal, 'looking at gates');
      const rows = [...batch.targets.keys()].filter((row) => batch.targets[row] !== IGNORED);
      for (const [s, trace] of (await model.trace(batch.inputs, batch.batch)).entries()) {
        sums[s] ??= { stitch: trace.placement, gates: new Float64Array(model.memberNames.length) };
        addGates(sums[s].gates, trace, rows, batch.inputs.length);
      }
      tokens += rows.length;
    }
    means.push(
      ...sums.map(({ stitch, gates }) => ({
        domain: name,
        stitch,
        gates: [...gates].map((sum) => sum / tokens),
        tokens,
      })),
    );
  }
  return means;
}

/** Adds to the sum of each member its mean gate of each of the rows. */
function addGates(sums: Float64Array, { gates }: StitchTrace, rows: readonly number[], allRows: number): void {
  const members = sums.length;
  const width = gates.length / (allRows * members);
  for (const row of rows) {
    for (let m = 0; m < members; m++) {
      const first = (row * members + m) * width;
      for (let c = first; c < first + width; c++) sums[m]! += gates[c]! / width;
    }
  }
}
