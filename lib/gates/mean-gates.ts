import type { z } from 'zod';
import { throwIfAborted } from '../base/errors.js';
import { checkOptions } from '../base/options-check.js';
import { checkShape, IGNORED } from '../data/packing.js';
import { type HeldOutDomain, type HeldOutOptions, heldOutOptions, usualLength } from '../eval/held-out-loss.js';
import { sharedBatches } from '../eval/shared-batches.js';
import type { MemberParallelModel } from '../model/member-parallel-model.js';
import type { StitchedModel } from '../model/stitched-model.js';
import { Communicator } from '../tensor/communicator.js';
import { together } from '../tensor/together.js';
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
 * @param model whose gates are looked at; each rank of one that lies on several calls it
 * @param domains names and held-out text
 */
export async function meanGates(
  model: StitchedModel | MemberParallelModel,
  domains: readonly HeldOutDomain[],
  options: GateOptions = {},
): Promise<MeanGates[]> {
  const checked = checkOptions('meanGates', gateOptions, options, { signal: true, communicator: true });
  const { sequenceLength = usualLength(model.config), batchSize, maxTokens, signal } = checked;
  checkShape({ sequenceLength, batchSize });
  model.expectPass({ batch: batchSize, tokens: sequenceLength });
  const { communicator = Communicator.alone(model.device) } = checked;
  const fresh = () =>
    domains.map(() => model.manifest.plan.map((placement) => new GateSums(placement, model.memberNames)));
  const work = async () => {
    const sums = fresh();
    const texts = domains.map(({ heldOut }) => heldOut);
    const shared = sharedBatches(texts, { sequenceLength, batchSize, maxTokens }, communicator);
    for await (const { batch, text } of shared) {
      throwIfAborted(signal, 'looking at gates');
      const rows = await model.gates(batch.inputs, batch.batch, { channels: true });
      for (const [row, target] of batch.targets.entries()) {
        if (target === IGNORED) continue;
        for (const [s, { channels }] of rows[row]!.stitches.entries()) sums[text]![s]!.add(channels!);
      }
    }
    return sums.map((stitches) => stitches.map((sum) => sum.state()));
  };
  const shares = await together(communicator, work, { entangled: model.spread !== undefined });
  const sums = fresh();
  for (const share of shares) {
    for (const [d, stitches] of share.entries()) for (const [s, state] of stitches.entries()) sums[d]![s]!.merge(state);
  }
  return domains.flatMap(({ name }, d) =>
    sums[d]!.map((sum) => ({ domain: name, stitch: sum.stitch, ...sum.result() })),
  );
}
