import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { isAdapter } from '../../checkpoint/adapter.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { hashCheckpoint } from '../../checkpoint/hash.js';
import { ALL_LINEAR, loraOptions, planLora } from '../../model/adapters/lora.js';
import { type AdapterTraining, adapterTraining } from '../../model/cost/adapter-cost.js';
import { adapterAsHub } from '../../model/members/adapter-base.js';

/** What is trained in the place of a model's weights. */
export const newAdapterOptions = {
  lora: loraOptions.rank.optional(),
  loraAlpha: loraOptions.alpha,
  loraTargets: loraOptions.targets,
};

const schema = z.object(newAdapterOptions);
type Values = z.output<typeof schema> & { from?: string | undefined; freeze?: readonly unknown[] | undefined };

export const isAdapted = ({ lora }: Values): boolean => lora !== undefined;

/** Throws BAD_OPTION for options that go with an adapter alone, and for those that do not go with one. */
export function checkNewAdapter({ lora, loraAlpha, loraTargets, from, freeze }: Values): void {
  const fail = (reason: string) => new BtsError('BAD_OPTION', reason);
  if (lora === undefined) {
    if (loraAlpha === undefined && loraTargets === undefined) return;
    throw fail('--lora-alpha and --lora-targets are about an adapter: give its rank with --lora.');
  }
  if (from === undefined) throw fail('--lora trains an adapter of an existing model: give --from.');
  if (freeze) throw fail('--lora leaves all of --from as it is: leave out --freeze.');
}

/** What the adapter is begun with; undefined where the model itself is trained. */
export function loraOf({ lora: rank, loraAlpha: alpha, loraTargets: targets = [ALL_LINEAR] }: Values) {
  return rank === undefined ? undefined : { rank, alpha: alpha ?? rank, targets };
}

/** What training the adapter takes. Throws BAD_OPTION where its targets name nothing, BAD_ADAPTER for one of an adapter. */
export async function adapterToBe(config: ModelConfig, values: Values): Promise<AdapterTraining | undefined> {
  const [lora, from] = [loraOf(values), values.from!];
  if (!lora) return undefined;
  if (await isAdapter(from)) throw adapterAsHub(from);
  const { adaptations } = planLora(config, from, lora);
  return adapterTraining(config, new Map([...adaptations].map(([name, { rank }]) => [name, rank])));
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
  const lora = loraOf(values);
  return { lora: lora ?? null, ...(lora && { base: await hashCheckpoint(values.from!, { signal }) }) };
}
