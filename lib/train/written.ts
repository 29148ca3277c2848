/** What is written of a run, by rank 0, wherever it lies. */
import type { TensorSource } from '../checkpoint/safetensors-writer.js';
import type { LanguageModel } from '../model/language-model.js';
import { Gathering, ownRows } from '../model/spread-weights.js';
import type { Communicator, JsonValue } from '../tensor/communicator.js';
import type { Tensor } from '../tensor/tensor.js';
import { onFirst, together } from '../tensor/together.js';
import type { AdamW } from './adamw.js';

/** A model, and the optimizer's moments. */
export interface Written {
  /** Of the model: into a new folder. */
  write: (folder: string) => Promise<void>;
  moments: readonly TensorSource[];
}

const MOMENTS = ['first', 'second'] as const;

/** The optimizer's moments that this rank has, each with the name and the shape of the whole, and the first of its rows. */
export function momentsOf(model: LanguageModel, optimizer: AdamW) {
  const { trainable, spread } = model;
  const stored = spread
    ? ownRows(spread.weights, spread.members.rank).map(({ weight: { name, shape }, first }) => ({ name, shape, first }))
    : trainable.map(({ name, value: { shape } }) => ({ name, shape, first: 0 }));
  return stored.flatMap(({ name, ...place }, i) =>
    MOMENTS.map((moment): { name: string; shape: readonly number[]; first: number; tensor: Tensor } => ({
      name: `${moment}.${name}`,
      ...place,
      tensor: optimizer[`${moment}Moments`][i]!,
    })),
  );
}

/**
 * Lets rank 0 write a model, and the optimizer where it is given, while the others send what they have of them. What it returns
 * is everybody's.
 */
export async function writeTogether<Result extends JsonValue>(
  { whole }: Communicator,
  model: LanguageModel,
  optimizer: AdamW | undefined,
  write: (written: Written) => Promise<Result>,
): Promise<Result> {
  const { spread, trainable } = model;
  if (!spread) {
    return await onFirst(whole, () => {
      const moments = optimizer ? momentsOf(model, optimizer) : [];
      const sources = moments.map(({ name, shape, tensor }) => ({
        ...{ name, shape },
        dtype: 'F32' as const,
        data: () => tensor.readBytes(),
      }));
      return write({ write: (folder) => model.write(folder), moments: sources });
    });
  }
  const { members, weights } = spread;
  const values = trainable.map(({ value }) => value);
  const named = (moment: string) => weights.map((weight) => ({ ...weight, name: `${moment}.${weight.name}` }));
  const work = async () => {
    // The others have the same.
    if (members.ranks[0] !== 0) return null;
    const gathering = new Gathering(members, [
      { weights, own: values },
      ...(optimizer
        ? [
            {
              weights: MOMENTS.flatMap(named),
              own: [...optimizer.firstMoments, ...optimizer.secondMoments],
            },
          ]
        : []),
    ]);
    const [file = [], moments = []] = gathering.files;
    if (whole.rank === 0) return await write({ write: (folder) => spread.writeWhole(folder, file), moments });
    await gathering.send();
    return null;
  };
  const results = await together<Result | null>(whole, work, { entangled: true });
  return results[0] as Result;
}
