import { type ModelConfig, ropeOf } from '../checkpoint/model-config.js';
import type { Rope } from '../checkpoint/rope-config.js';
import { expectMemory } from '../memory.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';

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
  ) {}

  /** One table for each member, [P, width] with P >= positions, to rotate layer `index` with; null: nothing is rotated there. */
  upTo(positions: number, index: number): readonly Tensor[] | null {
    if (positions > this.positions) {
      this.outgrown.push(...this.tables.values());
      this.tables.clear();
      this.positions = Math.max(FIRST_POSITIONS, 2 ** Math.ceil(Math.log2(positions)));
    }
    const tables = this.configs.map((config) => this.table(ropeOf(config, index), config.rope.width, positions));
    return tables.includes(null) ? null : (tables as Tensor[]);
  }

  private table(rope: Rope | null, width: number, reach: number): Tensor | null {
    if (!rope) return null;
    const long = rope.kind === 'longrope' && reach > rope.originalMaxPositions;
    const key = JSON.stringify([rope, long]);
    const table = this.tables.get(key) ?? this.create(rope, width, long);
    this.tables.set(key, table);
    return table;
  }

  private create(rope: Rope, width: number, long: boolean): Tensor {
    const bytes = 2 * Float32Array.BYTES_PER_ELEMENT * this.positions * width;
    expectMemory(bytes, `the rotary table of ${this.positions} positions`);
    const factor = rope.kind === 'longrope' ? rope.attentionFactor : 1;
    const table = computeTable(ropeFrequencies(rope, width, long), this.positions, factor);
    return this.device.tensor(table, [this.positions, table.length / this.positions]);
  }

  [Symbol.dispose](): void {
    for (const table of [...this.tables.values(), ...this.outgrown.splice(0)]) table.dispose();
    this.tables.clear();
    this.positions = 0;
  }
}
