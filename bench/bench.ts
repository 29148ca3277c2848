import { present } from '../lib/cli/options/options.js';
import type { QuantizedType } from '../lib/tensor/addon.js';
import { loadAddon } from '../lib/tensor/addon.js';
import { Device, type Peaks } from '../lib/tensor/device.js';
import type { Tensor } from '../lib/tensor/tensor.js';
import type { Precision } from './models.js';
import type { SizeName } from './sizes.js';

export interface BenchOptions {
  size: SizeName;
  /** Of the frozen weights. */
  dtype: Precision;
  /** What matrix products take; default: what the device does by itself. */
  precision?: Precision;
  /** 'cpu', 'cuda' and so on. */
  device: string;
  threads: number;
  /** 'generic', 'avx2' or 'avx512'; default: the widest that the processor has. */
  instructionSet?: string;
  /** With ops: tokens and members that pass through each at once; default: what the device is made for. */
  rows?: number;
  members?: number;
  /** With step, decode: experts that are whole models, or adapters of the hub. */
  experts: 'models' | 'adapters';
  /** Of adapters. */
  rank: number;
  /** What members are held in; default: as they are. */
  quantize?: QuantizedType;
  /** Timed runs, after those that warm up. */
  steps: number;
  /** Print the time of each op. */
  profile: boolean;
  /** Training steps compute the inside of layers again in place of keeping it, as `bts stitch` does. */
  recompute: boolean;
  /** Training steps and decoding are compared with what is as precise as they claim, before they are measured. */
  verify: boolean;
}

/** The device that was asked for and no other. Throws NO_DEVICE. */
export const openDevice = ({ device, threads, precision, instructionSet }: BenchOptions): Device =>
  Device.open(device, present({ threads, precision, instructionSet }));

export const isGpu = (device: string): boolean => device.startsWith('cuda');

/** What GPU a device is, by its name. */
export function cardOf(device: string): string {
  const [backend, index] = device.split(':');
  const gpus = loadAddon(backend as 'cuda').variants();
  return gpus.find(({ name, supported }) => (index ? name === index : supported))!.detail;
}

/** What CPU devices compute with on this processor, from the narrowest on. */
export const instructionSets = (): string[] =>
  loadAddon()
    .variants()
    .filter(({ supported }) => supported)
    .map(({ name }) => name);

/** Normal deviates in the type of the device's hidden states. */
export function hiddenStates(device: Device, shape: readonly number[], deviation: number, seed: number): Tensor {
  const values = device.empty(shape);
  device.run('fill_normal', { y: values, deviation, seed });
  if (device.activations === 'f32') return values;
  const y = device.empty(shape, device.activations);
  device.run('convert', { y, x: values });
  values.dispose();
  return y;
}

/** What was measured; its last line on stdout is this as JSON. Keys are those of the PyTorch side of the comparison. */
export type Row = Record<string, string | number | boolean | readonly object[]>;

/** Prints the device's ceiling and how much of it was reached. */
export function reportCeiling(device: Device, peaks: Peaks, reached: { flops?: number; readBytes?: number }): Row {
  const row: Row = {
    peak_gflops: Math.round(peaks.flops / 1e9),
    peak_read_gb_s: Number((peaks.readBytes / 1e9).toFixed(1)),
  };
  console.log(`ceiling: ${describeCeiling(device, peaks)}`);
  if (reached.flops !== undefined) row.flops_share = share('arithmetic', reached.flops / peaks.flops);
  if (reached.readBytes !== undefined) row.read_share = share('reading', reached.readBytes / peaks.readBytes);
  return row;
}

export const describeCeiling = ({ precision }: Device, { flops, readBytes }: Peaks): string =>
  `${Math.round(flops / 1e9)} GFLOP/s of ${precision} multiply-adds, ${(readBytes / 1e9).toFixed(1)} GB/s read from memory`;

function share(what: string, part: number): number {
  console.log(`${what}: ${(100 * part).toFixed(1)} % of the ceiling`);
  return Number(part.toFixed(3));
}

/** Prints where the time went since the device was last asked, but for measuring what it can reach. */
export function printProfile(device: Device, runs: number): void {
  const { measure_peaks: _, ...profile } = device.profile();
  const ops = Object.entries(profile).sort(([, a], [, b]) => b.milliseconds - a.milliseconds);
  const total = ops.reduce((sum, [, { milliseconds }]) => sum + milliseconds, 0);
  for (const [name, { calls, milliseconds }] of ops) {
    const percent = ((100 * milliseconds) / total).toFixed(1).padStart(5);
    console.log(`${percent} %  ${(milliseconds / runs).toFixed(2).padStart(9)} ms  ${calls / runs} x ${name}`);
  }
}
