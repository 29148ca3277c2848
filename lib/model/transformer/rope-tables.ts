import { expectMemory } from '../../base/memory.js';
import { type ModelConfig, ropeOf } from '../../checkpoint/model-config.js';
import type { Rope } from '../../checkpoint/rope-config.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

/**
 * Angular frequency of each pair of rotated channels, [width / 2], stretched as the checkpoint asks.
 *
 * @param long of LongRoPE: for sequences beyond the original context
 */
export function ropeFrequencies(rope: Rope, width: number, long = false): Float64Array {
  return Float64Array.from({ length: Math.ceil(width / 2) }, (_, i) => {
    // Rounded to f32 where the models' own code rounds: far out, that is part of the angle they were trained with.
    const wavelength = Math.fround(rope.theta ** ((2 * i) / width));
    if (rope.kind === 'longrope') {
      const factors = long ? rope.longFactors : rope.shortFactors;
      return Math.fround(1 / Math.fround(Math.fround(factors[i]!) * wavelength));
    }
    const frequency = Math.fround(1 / wavelength);
    if (rope.kind === 'default') return frequency;
    const stretched = frequency / rope.factor;
    if (rope.kind === 'linear') return stretched;
    // Llama 3.1: waves that turn often within the original context stay, slow ones are stretched, between is blended.
    const turns = (rope.originalMaxPositions * frequency) / (2 * Math.PI);
    const { lowFrequencyFactor: low, highFrequencyFactor: high } = rope;
    if (turns < low) return stretched;
    if (turns > high) return frequency;
    const blend = (turns - low) / (high - low);
    return (1 - blend) * stretched + blend * frequency;
  });
}

/** Cosines, then sines, of the angles at positions 0..positions-1, times `factor`: [positions, 2 * pairs]. */
function computeTable(frequencies: Float64Array, positions: number, factor: number): Float32Array {
  const half = frequencies.length;
  const table = new Float32Array(positions * 2 * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      // In f32, as above.
      const angle = Math.fround(position * Math.fround(frequencies[i]!));
      table[position * 2 * half + i] = factor * Math.cos(angle);
      table[position * 2 * half + half + i] = factor * Math.sin(angle);
    }
  }
  return table;
}

const FIRST_POSITIONS = 512;

/** Lengths beyond which members rotate a whole sequence in another way (LongRoPE), rising. */
export function ropeLimits(configs: readonly ModelConfig[]): number[] {
  const limits = configs.flatMap((config) =>
    Array.from({ length: config.layers }, (_, index) => ropeOf(config, index)).flatMap((rope) =>
      rope?.kind === 'longrope' ? [rope.originalMaxPositions] : [],
    ),
  );
  return [...new Set(limits)].sort((a, b) => a - b);
}

/** How many of the limits a sequence of `length` tokens is beyond. */
export const stageOf = (limits: readonly number[], length: number) => limits.filter((limit) => length > limit).length;

/** The row at which the positions of a stage begin in the tables of caches: those of the stages follow each other. */
export const stageStart = (limits: readonly number[], stage: number) =>
  limits.slice(0, stage).reduce((sum, limit) => sum + limit, 0);

/**
 * The rotary tables of a group of members, as long as the longest sequence so far needs. Members and layers that rotate alike
 * share one.
 */
export class RopeTables implements Disposable {
  private readonly tables = new Map<string, Tensor>();
  private positions = 0;
  // A tape may still hold on to shorter tables; all together are at most as large again as the longest.
  private readonly outgrown: Tensor[] = [];

  constructor(
    private readonly device: Device,
    private readonly configs: readonly ModelConfig[],
    private readonly limits: readonly number[] = ropeLimits(configs),
  ) {}

  /**
   * One table for each member, [P, width], to rotate layer `index` with; null: nothing is rotated there. Its rows are for the
   * positions of sequences of `positions` tokens, or `inCache` of all stages, one after the other: the last has that many.
   */
  upTo(positions: number, index: number, inCache = false): readonly Tensor[] | null {
    if (positions > this.positions) {
      this.outgrown.push(...this.tables.values());
      this.tables.clear();
      this.positions = Math.max(FIRST_POSITIONS, 2 ** Math.ceil(Math.log2(positions)));
    }
    const lengths = inCache && this.limits.length > 0 ? [...this.limits, Number.POSITIVE_INFINITY] : [positions];
    const tables = this.configs.map((config) => this.table(ropeOf(config, index), config.rope.width, lengths));
    return tables.includes(null) ? null : (tables as Tensor[]);
  }

  /** One part for sequences of up to each of the lengths. */
  private table(rope: Rope | null, width: number, lengths: readonly number[]): Tensor | null {
    if (!rope) return null;
    const long = lengths.map((length) => rope.kind === 'longrope' && length > rope.originalMaxPositions);
    const key = JSON.stringify([rope, long]);
    const table = this.tables.get(key) ?? this.create(rope, width, long);
    this.tables.set(key, table);
    return table;
  }

  private create(rope: Rope, width: number, long: readonly boolean[]): Tensor {
    const positions = long.map((_, stage) => (stage < long.length - 1 ? this.limits[stage]! : this.positions));
    const rows = positions.reduce((sum, count) => sum + count, 0);
    const columns = 2 * Math.ceil(width / 2);
    expectMemory(2 * Float32Array.BYTES_PER_ELEMENT * rows * columns, `the rotary table of ${rows} positions`);
    const factor = rope.kind === 'longrope' ? rope.attentionFactor : 1;
    const table = new Float32Array(rows * columns);
    let row = 0;
    for (const [stage, count] of positions.entries()) {
      table.set(computeTable(ropeFrequencies(rope, width, long[stage]), count, factor), row * columns);
      row += count;
    }
    return this.device.tensor(table, [rows, columns]);
  }

  [Symbol.dispose](): void {
    for (const table of [...this.tables.values(), ...this.outgrown.splice(0)]) table.dispose();
    this.tables.clear();
    this.positions = 0;
  }
}
