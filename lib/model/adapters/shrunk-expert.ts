import type { Abortable } from '../../base/errors.js';
import { ADAPTER_PREFIX, lowRankName, moduleOf } from '../../checkpoint/adapter.js';
import { newAdapterConfig, writeAdapter } from '../../checkpoint/adapter-writer.js';
import type { ParameterSpec } from '../../checkpoint/names.js';
import { readTensor, type TensorEntry } from '../../checkpoint/safetensors.js';
import { Tokenizer } from '../../data/tokenizer.js';
import type { DType } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import { type LowRank, Parameter } from '../../tensor/parameter.js';
import type { Tensor } from '../../tensor/tensor.js';
import { DenseModel } from '../dense-model.js';
import type { OpenMember } from '../members/member-files.js';
import { MEMORY_DTYPES, tensorSource } from '../save.js';
import type { ShrunkMatrix } from './shrink-matrix.js';

interface Shrunk {
  base: OpenMember;
  expert: OpenMember;
  matrices: readonly ShrunkMatrix[];
  /** What is kept whole, and what differs from the hub's and becomes that. */
  kept: readonly ParameterSpec[];
  dropped: readonly ParameterSpec[];
}

/** An expert as an adapter of its hub, which computes about the same. Its matrices lie on the device until it is disposed. */
export class ShrunkExpert implements Disposable {
  /** The tensors that the adapter holds whole. */
  readonly whole: readonly string[];
  /** The tensors that differ from the hub's and are left as they are there. */
  readonly left: readonly string[];

  /** @internal */
  constructor(
    private readonly device: Device,
    private readonly shrunk: Shrunk,
  ) {
    this.whole = shrunk.kept.map(({ name }) => name);
    this.left = shrunk.dropped.map(({ name }) => name);
  }

  /** Of each matrix its rank, and how far B A is from its difference to the hub's: by the Frobenius norm of that, from 0 to 1. */
  get matrices(): { name: string; rank: number; error: number }[] {
    return this.shrunk.matrices.map(({ name, right, total, rest }) => {
      return { name, rank: right.shape[0]!, error: total === 0 ? 0 : Math.sqrt(rest / total) };
    });
  }

  /** The same of all matrices together. */
  get error(): number {
    const sum = (of: (matrix: ShrunkMatrix) => number) => this.shrunk.matrices.reduce((all, each) => all + of(each), 0);
    return Math.sqrt(sum(({ rest }) => rest) / sum(({ total }) => total));
  }

  /** Numbers in the adapter's file. */
  get parameters(): number {
    const low = this.shrunk.matrices.map(({ left, right }) => left.size + right.size);
    const whole = this.shrunk.kept.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
    return [...low, ...whole].reduce((sum, size) => sum + size, 0);
  }

  /**
   * The adapter with its first `rank` directions, which are what shrinking to that rank finds; both must be disposed.
   *
   * @param rank at most, of each matrix
   */
  truncated(rank: number): ShrunkExpert {
    const cut = ({ left, right, energies, rest, ...matrix }: ShrunkMatrix): ShrunkMatrix => {
      const last = Math.min(rank, energies.length);
      const lost = energies.subarray(last).reduce((sum, energy) => sum + energy, 0);
      const first = { energies: energies.slice(0, last), rest: rest + lost };
      return { ...matrix, ...first, left: left.slice(0, last), right: right.slice(0, last) };
    };
    return new ShrunkExpert(this.device, { ...this.shrunk, matrices: this.shrunk.matrices.map(cut) });
  }

  /** The hub with the adapter, which the caller disposes. Throws what loading the hub throws. */
  async load({ signal }: Abortable = {}): Promise<DenseModel> {
    const { base, expert, kept, matrices } = this.shrunk;
    const tensors = new Map(base.tensors);
    for (const { name } of kept) tensors.set(name, expert.tensors.get(name)!);
    const byName = new Map(matrices.map((matrix) => [matrix.name, matrix]));
    const replaced = new Map(kept.map(({ name }) => [name, this.fileName(name)]));
    const { folder, config, tokenizer } = base;
    return await DenseModel.of(this.device, { folder, config, tensors }, tokenizer && Tokenizer.of(tokenizer), {
      lowRank: (_, { name }) => {
        const matrix = byName.get(name);
        return matrix && this.lowRank(matrix);
      },
      adapted: { json: this.config, replaced },
      signal,
    });
  }

  /**
   * Writes the adapter as PEFT does.
   *
   * @param folder a new, empty folder
   * @param dtype of A and B; default what the hub has
   */
  async write(folder: string, dtype?: Exclude<DType, 'i32'>): Promise<void> {
    const { base, expert, kept, matrices } = this.shrunk;
    const parts = matrices.map((matrix) => this.lowRank(matrix));
    try {
      const low = parts.flatMap(({ down, up }) => [down, up]);
      const whole = kept.map(({ name }) => {
        const entry = expert.tensors.get(name) as TensorEntry; // never in codes: see expectFloats
        const { dtype, shape } = entry;
        return { name: this.fileName(name), dtype, shape, data: () => readTensor(entry) };
      });
      const written = low.map((part) => tensorSource(part, dtype ?? MEMORY_DTYPES[base.config.dtype]));
      await writeAdapter(folder, this.config, [...written, ...whole]);
    } finally {
      for (const { down, up } of parts) {
        down.dispose();
        up.dispose();
      }
    }
  }

  private get config(): object {
    const { base, kept, matrices } = this.shrunk;
    const ranks = matrices.map(({ name, right }) => [moduleOf(name), right.shape[0]!] as const);
    const rank = Math.max(...ranks.map(([, rank]) => rank));
    const isBias = ({ name }: ParameterSpec) => name.endsWith('.bias');
    return newAdapterConfig({
      base: base.folder,
      rank,
      alpha: rank,
      targets: endsOf(matrices),
      ranks: Object.fromEntries(ranks.filter(([, other]) => other !== rank)),
      saved: endsOf(kept.filter((spec) => !isBias(spec))),
      biases: kept.some(isBias),
    });
  }

  /** What PEFT calls a tensor that stands in the place of the base's: within a module that is adapted, it is one level deeper. */
  private fileName(name: string): string {
    const module = moduleOf(name);
    const isAdapted = this.shrunk.matrices.some((matrix) => moduleOf(matrix.name) === module);
    return ADAPTER_PREFIX + (isAdapted ? name.replace(module, `${module}.base_layer`) : name);
  }

  private lowRank({ name, left, right }: ShrunkMatrix): LowRank {
    const nameOf = (letter: 'A' | 'B') => ADAPTER_PREFIX + lowRankName(moduleOf(name), letter);
    const up = transposed(this.device, left);
    try {
      return { down: new Parameter(nameOf('A'), right.share()), up: new Parameter(nameOf('B'), up), scale: 1 };
    } catch (error) {
      up.dispose();
      throw error;
    }
  }

  /** Gives back its memory. Twice is harmless. */
  dispose(): void {
    for (const { left, right } of this.shrunk.matrices) {
      left.dispose();
      right.dispose();
    }
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The last parts of the names of modules, each once. */
export function endsOf(weights: readonly { name: string }[]): string[] {
  return [...new Set(weights.map(({ name }) => moduleOf(name).split('.').at(-1)!))];
}

function transposed(device: Device, x: Tensor): Tensor {
  const [rows = 0, columns = 0] = x.shape;
  const y = device.empty([columns, rows]);
  try {
    using from = x.reshape(rows, columns, 1);
    using to = y.reshape(columns, rows, 1);
    device.run('swap_axes', { y: to, x: from });
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}
