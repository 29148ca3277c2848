/** Models that are an adapter of another one: what is trained of them, and what they are written as. */
import type { Adapter } from '../../checkpoint/adapter.js';
import { writeAdapter } from '../../checkpoint/adapter-writer.js';
import type { DType } from '../../tensor/addon.js';
import { isTrained, type Parameter } from '../../tensor/parameter.js';
import { tensorSource } from '../save.js';

/** What of an adapter a model of it has to remember. */
export interface Adapted {
  /** Its adapter_config.json. */
  json: object;
  /** What its file calls the tensors that stand in the place of the base's, by the base's names. */
  replaced: ReadonlyMap<string, string>;
}

export function adaptedBy({ json, replaced }: Adapter): Adapted {
  return { json, replaced: new Map([...replaced].map(([name, entry]) => [name, entry.name])) };
}

/** Both matrices that are added to a weight, if there are any. */
export const lowRankParts = ({ adapter }: Parameter): Parameter[] => (adapter ? [adapter.down, adapter.up] : []);

/** The ranks of what is trained, by the names of the weights that it is added to. */
export function trainedRanks(weights: readonly Parameter[]): Map<string, number> {
  const trained = weights.filter(({ adapter }) => adapter && isTrained(adapter));
  return new Map(trained.map(({ name, adapter }) => [name, adapter!.down.value.shape[0]!]));
}

/**
 * Writes what a model adds to its base.
 *
 * @param weights all of the model
 * @param dtype of what is trained; default f32
 * @throws FILE_IO
 */
export async function writeAdapted(
  folder: string,
  { json, replaced }: Adapted,
  weights: readonly Parameter[],
  dtype: Exclude<DType, 'i32'> | undefined,
): Promise<void> {
  const low = weights.flatMap(lowRankParts).map((part) => tensorSource(part, part.gradient ? dtype : undefined));
  const whole = weights
    .filter(({ name }) => replaced.has(name))
    .map((weight) => ({ ...tensorSource(weight), name: replaced.get(weight.name)! }));
  await writeAdapter(folder, json, [...low, ...whole]);
}
