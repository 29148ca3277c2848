import { inFileOrder, type TensorSource } from '../checkpoint/safetensors-writer.js';
import type { Communicator } from '../tensor/communicator.js';
import type { Tensor } from '../tensor/tensor.js';

/** Rows first..last-1 of a weight, which one rank has. */
export interface Rows {
  rank: number;
  first: number;
  last: number;
}

/** A weight in f32 whose rows lie on several ranks. */
export interface SpreadWeight {
  name: string;
  shape: readonly number[];
  /** Together all of its rows. */
  rows: readonly Rows[];
}

/** The weights of a model that lies on several ranks, and how rank 0 writes it. */
export interface SpreadModel {
  /** Of the ranks. */
  members: Communicator;
  /** All that there is, in the order of the model; this rank's parameters are their rows in the same order. */
  weights: readonly SpreadWeight[];
  /** Writes everything into a folder: on rank 0, with what the others send. */
  writeWhole: (folder: string, sources: readonly TensorSource[]) => Promise<void>;
}

/** What one rank has, in the order of the weights. */
export const ownRows = (weights: readonly SpreadWeight[], own: number) =>
  weights.flatMap((weight) =>
    weight.rows.filter(({ rank }) => rank === own).map(({ first, last }) => ({ weight, first, last })),
  );

/** Weights, and those of their rows that are this rank's. */
export interface Lot {
  weights: readonly SpreadWeight[];
  own: readonly Tensor[];
}

/**
 * Makes the weights of one file after the other whole on rank 0, each when it is written. All ranks make one, of the same files;
 * rank 0 then writes all of them, and the others send. Where one of them fails, those who wait for it have to be released.
 */
export class Gathering {
  /** Of each file what rank 0 writes, in the order of the file. */
  readonly files: readonly (readonly TensorSource[])[];
  private readonly order: { weight: SpreadWeight; own: ReadonlyMap<number, Tensor> }[];
  private next = 0;

  constructor(
    private readonly members: Communicator,
    lots: readonly Lot[],
  ) {
    const files = lots.map(({ weights, own }) => {
      const mine = new Map<SpreadWeight, Map<number, Tensor>>(weights.map((weight) => [weight, new Map()]));
      for (const [i, { weight, first }] of ownRows(weights, members.rank).entries())
        mine.get(weight)!.set(first, own[i]!);
      const sorted = inFileOrder(weights.map(({ name }, i) => ({ name, dtype: 'F32' as const, weight: weights[i]! })));
      return sorted.map(({ weight }) => ({ weight, own: mine.get(weight)! }));
    });
    this.order = files.flat();
    let at = 0;
    this.files = files.map((file) =>
      file.map(({ weight: { name, shape } }) => {
        const index = at++;
        return { name, dtype: 'F32', shape, data: () => this.take(index) };
      }),
    );
  }

  /** What this rank has, in the order in which rank 0 writes it. */
  async send(): Promise<void> {
    const { members, order } = this;
    for (const { weight, own } of order) {
      for (const { first } of weight.rows.filter(({ rank }) => rank === members.rank)) {
        members.send(own.get(first)!, 0);
      }
    }
    await members.device.synchronize();
  }

  private async take(index: number): Promise<Uint8Array> {
    if (index !== this.next) throw new Error('weights of several ranks were asked for in another order.');
    this.next++;
    const { members } = this;
    const { weight, own } = this.order[index]!;
    using whole = members.device.empty(weight.shape);
    for (const { rank, first, last } of weight.rows) {
      using rows = whole.slice(first, last);
      const mine = own.get(first);
      if (rank === members.rank) members.device.run('convert', { y: rows, x: mine! });
      else members.receive(rows, rank);
    }
    return await whole.readBytes();
  }
}
