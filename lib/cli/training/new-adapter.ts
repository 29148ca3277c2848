import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { isAdapter } from '../../checkpoint/adapter.js';
import { openCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { hashCheckpoint } from '../../checkpoint/hash.js';
import { ALL_LINEAR, loraOptions, planLora } from '../../model/adapters/lora.js';
import { adapterTraining } from '../../model/cost/adapter-cost.js';
import { adaptedCost, type BatchSize, type Cost } from '../../model/cost/cost.js';
import { adapterAsHub } from '../../model/members/adapter-base.js';
import { packedTypes } from '../../model/transformer/packed-types.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';

/** What is trained in the place of a model's weights. */
export const newAdapterOptions = {
  lora: loraOptions.rank.optional(),
  loraAlpha: loraOptions.alpha,
  loraTargets: loraOptions.targets,
  members: quantizeOptions.members.meta({
    description:
      'Of an adapter: hold the matrices of --from in 8 or 4 bits, int8 or int4 (default: files, as its files have them)',
  }),
};

const schema = z.object(newAdapterOptions);
type Values = z.output<typeof schema> & { from?: string | undefined; freeze?: readonly unknown[] | undefined };

export const isAdapted = ({ lora }: Values): boolean => lora !== undefined;

/** Throws BAD_OPTION for options that go with an adapter alone, and for those that do not go with one. */
export function checkNewAdapter({ lora, loraAlpha, loraTargets, members, from, freeze }: Values): void {
  const fail = (reason: string) => new BtsError('BAD_OPTION', reason);
  if (lora === undefined) {
    if (loraAlpha === undefined && loraTargets === undefined && members === undefined) return;
    throw fail('--lora-alpha, --lora-targets and --members are about an adapter: give its rank with --lora.');
  }
  if (from === undefined) throw fail('--lora trains an adapter of an existing model: give --from.');
  if (freeze) throw fail('--lora leaves all of --from as it is: leave out --freeze.');
}

/** What the adapter is begun with; undefined where the model itself is trained. */
export function loraOf({ lora: rank, loraAlpha: alpha, loraTargets: targets = [ALL_LINEAR], members }: Values) {
  return rank === undefined ? undefined : { rank, alpha: alpha ?? rank, targets, members };
}

/**
 * What training the adapter takes; undefined where the model itself is trained. Throws BAD_OPTION where its targets name nothing,
 * BAD_ADAPTER for one of an adapter.
 */
export async function adapterToBe(values: Values, size: BatchSize): Promise<Cost | undefined> {
  const [lora, from] = [loraOf(values), values.from!];
  if (!lora) return undefined;
  if (await isAdapter(from)) throw adapterAsHub(from);
  const { config, tensors } = await openCheckpoint(from);
  const { adaptations } = planLora(config, from, lora);
  const adapter = adapterTraining(config, new Map([...adaptations].map(([name, { rank }]) => [name, rank])));
  const quantized = lora.members === 'files' ? undefined : lora.members;
  return adaptedCost({ config, quantized, packed: packedTypes(tensors) }, size, adapter);
}

/** Throws BAD_OPTION where a run that trains an adapter would go on with a whole model, or the other way round. */
export async function expectSameKind(checkpoint: string, values: Values): Promise<void> {
  const isOne = await isAdapter(checkpoint);
  if (isOne === isAdapted(values)) return;
  const [what, todo] = isOne ? ['an adapter', 'give --lora'] : ['a whole model', 'leave out --lora'];
  throw new BtsError('BAD_OPTION', `cannot resume: '${checkpoint}' is a checkpoint of ${what}: ${todo}.`);
}

/** What checkpoints of an adapter do not hold, as those of a model do: how it was begun, and the weights that it is one of. */
export async function adapterIdentity(values: Values, signal: AbortSignal): Promise<Record<string, unknown>> {
  const { members = 'files', ...lora } = loraOf(values) ?? {};
  if (!isAdapted(values)) return { lora: null };
  return {
    lora: { ...lora, ...(members !== 'files' && { members }) },
    base: await hashCheckpoint(values.from!, { signal }),
  };
}
