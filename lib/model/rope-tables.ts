import type { ModelConfig } from '../checkpoint/config.js';
import type { Rope } from '../checkpoint/rope-config.js';
import { expectMemory } from '../memory.js';
import type { Device } from '../tensor/device.js';
import type { Tensor } from '../tensor/tensor.js';

type RopeConfig = Pick<ModelConfig, 'rope' | 'headWidth'>;

/** Angular frequency of each pair of channels, [headWidth / 2], stretched as the checkpoint asks. */
export function ropeFrequencies(rope: Rope, headWidth: number): Float64Array {
  return Float64Array.from({ length: headWidth / 2 }, (_, i) => {
    // Rounded to f32 where the models' own code rounds: far out, that is part of the angle they were trained with.
    const frequency = Math.fround(1 / Math.fround(rope.theta ** ((2 * i) / headWidth)));
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

/** Cosines, then sines, of the angles at positions 0..positions-1: [positions, headWidth]. */
function computeTable(frequencies: Float64Array, positions: number): Float32Array {
  const half = frequencies.length;
  const table = new Float32Array(positions * 2 * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      // In f32, as above.
      const angle = Math.fround(position * Math.fround(frequencies[i]!));
      table[position * 2 * half + i] = Math.cos(angle);
      table[position * 2 * half + half + i] = Math.sin(angle);
    }
  }
  return table;
}

const FIRST_POSITIONS = 512;

/** The rotary tables of a group of members, as long as the longest sequence so far needs. Equal members share one. */
export class RopeTables implements Disposable {
  private tables: Tensor[] = [];
  private positions = 0;
  // A tape may still hold on to shorter tables; all together are at most as large again as the longest.
  private readonly outgrown: Tensor[] = [];

  constructor(
    private readonly device: Device,
    private readonly configs: readonly RopeConfig[],
  ) {}

  /** One table for each member, [P, headWidth] with P >= positions. */
  upTo(positions: number): readonly Tensor[] {
    if (positions > this.positions) {
      this.outgrown.push(...this.tables);
      this.positions = Math.max(FIRST_POSITIONS, 2 ** Math.ceil(Math.log2(positions)));
      const distinct = new Map<string, Tensor>();
      this.tables = this.configs.map(({ rope, headWidth }) => {
        const key = JSON.stringify(rope);
        const table = distinct.get(key) ?? this.create(rope, headWidth);
        distinct.set(key, table);
        return table;
      });
    }
    return this.tables;
  }

  private create(rope: Rope, headWidth: number): Tensor {
    const bytes = 2 * Float32Array.BYTES_PER_ELEMENT * this.positions * headWidth;
    expectMemory(bytes, `the rotary table of ${this.positions} positions`);
    const table = computeTable(ropeFrequencies(rope, headWidth), this.positions);
    return this.device.tensor(table, [this.positions, headWidth]);
  }

  [Symbol.dispose](): void {
    for (const table of [...this.tables.splice(0), ...this.outgrown.splice(0)]) table.dispose();
    this.positions = 0;
  }
}
