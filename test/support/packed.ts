/**
 * Checkpoints as GPTQ, AWQ and compressed-tensors write them, packed by the definitions of their formats: codes, scales and zeros are
 * drawn, and the numbers that they stand for are told.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '../../lib/base/random.js';
import { configToJson, type ModelConfig } from '../../lib/checkpoint/config.js';
import { parameterNames, rolesOf } from '../../lib/checkpoint/names.js';
import type { Dtype } from '../../lib/checkpoint/safetensors-header.js';
import { type TensorSource, writeSafetensors } from '../../lib/checkpoint/safetensors-writer.js';
import { encode, narrow } from './reference-halves.js';

export interface PackedFormat {
  kind: 'gptq' | 'gptq_v2' | 'awq' | 'pack-quantized' | 'int-quantized';
  bits: 4 | 8;
  /** Inputs; -1: all. */
  groupSize: number;
  symmetric: boolean;
  /** Groups out of order. */
  ordered?: boolean;
  /** One scale for the whole matrix. */
  perTensor?: boolean;
  scales?: 'f16' | 'bf16' | 'f32';
  /** Zeros of compressed-tensors as older versions wrote them, one a byte. */
  plainZeros?: boolean;
  /** Modules that are left as they were. */
  ignored?: readonly string[];
  /** The head, too. */
  head?: boolean;
  /** A bias of zeros for every matrix, as AutoGPTQ wrote them. */
  emptyBiases?: boolean;
}

/** A matrix [O, I]: codes from 0 on, and of each group of inputs a scale and a zero. */
export interface Drawn {
  outputs: number;
  inputs: number;
  /** [O][I] */
  codes: number[][];
  /** [O][G] */
  scales: number[][];
  zeros: number[][];
  /** [I] */
  groups: number[];
}

export function drawMatrix(format: PackedFormat, outputs: number, inputs: number, random: Random): Drawn {
  const { bits, symmetric, ordered, perTensor, scales: type = 'f16' } = format;
  const size = format.groupSize === -1 ? inputs : format.groupSize;
  const count = inputs / size;
  const levels = 2 ** bits;
  const table = (rows: number, columns: number, f: () => number) =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, f));
  const scale = () => narrow((0.5 + random.uniform()) / levels, type);
  const one = scale();
  const groups = Array.from({ length: inputs }, (_, i) => Math.floor(i / size));
  if (ordered) groups.sort(() => random.uniform() - 0.5);
  return {
    outputs,
    inputs,
    codes: table(outputs, inputs, () => random.below(levels)),
    scales: table(outputs, count, () => (perTensor ? one : scale())),
    zeros: table(outputs, count, () => (symmetric ? levels / 2 : random.below(levels))),
    groups,
  };
}

/** What it stands for, [O, I]. */
export const standsFor = ({ outputs, inputs, codes, scales, zeros, groups }: Drawn): Float64Array =>
  Float64Array.from({ length: outputs * inputs }, (_, at) => {
    const o = Math.floor(at / inputs);
    const i = at % inputs;
    return scales[o]![groups[i]!]! * (codes[o]![i]! - zeros[o]![groups[i]!]!);
  });

export const transposed = <T>(rows: readonly (readonly T[])[]): T[][] =>
  rows[0]!.map((_, column) => rows.map((row) => row[column]!));

/** Rows of fields, packed into words of 32 bits along the rows: the field in place p of a word has its bits from p * bits on. */
export function packRows(
  rows: readonly (readonly number[])[],
  bits: number,
  order = [0, 1, 2, 3, 4, 5, 6, 7],
): number[][] {
  const n = 32 / bits;
  return rows.map((row) => {
    const words: number[] = [];
    for (let first = 0; first < row.length; first += n) {
      let word = 0;
      for (let p = 0; p < n; p++) word |= ((row[first + order[p]!] ?? 0) & (2 ** bits - 1)) << (p * bits);
      words.push(word);
    }
    return words;
  });
}

const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

interface Table {
  dtype: Dtype;
  shape: number[];
  data: readonly number[];
}

function source(name: string, { dtype, shape, data }: Table): TensorSource {
  const halves = { F16: 'f16', BF16: 'bf16' } as const;
  const bytes = () => {
    if (dtype === 'F16' || dtype === 'BF16') return Uint16Array.from(data, (x) => encode(x, halves[dtype]));
    if (dtype === 'F32') return Float32Array.from(data);
    if (dtype === 'I64') return BigInt64Array.from(data, (x) => BigInt(x));
    return dtype === 'I8' ? Int8Array.from(data) : Int32Array.from(data);
  };
  return { name, dtype, shape, data: async () => new Uint8Array(bytes().buffer) };
}

const tableOf = (dtype: Dtype, rows: readonly (readonly number[])[]): Table => ({
  dtype,
  shape: [rows.length, rows[0]!.length],
  data: rows.flat(),
});

/** The tensors of a module, by what stands behind its name. */
export function packMatrix(format: PackedFormat, drawn: Drawn): Record<string, Table> {
  const { kind, bits, symmetric, perTensor, scales: type = 'f16' } = format;
  const { outputs, inputs, codes, zeros, groups } = drawn;
  const floats = { f16: 'F16', bf16: 'BF16', f32: 'F32' }[type] as Dtype;
  const index: Table = { dtype: 'I32', shape: [inputs], data: groups };
  if (kind === 'gptq' || kind === 'gptq_v2') {
    // The first version of the format has one less in every field, with what one borrows from the next.
    const less = kind === 'gptq' ? { 4: 0x11111111, 8: 0x01010101 }[bits] : 0;
    const packedZeros = packRows(transposed(zeros), bits).map((row) => row.map((word) => (word - less) | 0));
    return {
      qweight: tableOf('I32', transposed(packRows(codes, bits))),
      qzeros: tableOf('I32', packedZeros),
      scales: tableOf(floats, transposed(drawn.scales)),
      g_idx: index,
      ...(format.emptyBiases && { bias: { dtype: 'F16', shape: [outputs], data: Array(outputs).fill(0) } }),
    };
  }
  if (kind === 'awq')
    return {
      qweight: tableOf('I32', packRows(transposed(codes), bits, AWQ_ORDER)),
      qzeros: tableOf('I32', packRows(transposed(zeros), bits, AWQ_ORDER)),
      scales: tableOf(floats, transposed(drawn.scales)),
    };
  const middle = 2 ** (bits - 1);
  const signed = (rows: readonly (readonly number[])[]) => rows.map((row) => row.map((x) => x - middle));
  const weight_scale = perTensor
    ? { dtype: floats, shape: [1], data: [drawn.scales[0]![0]!] }
    : tableOf(floats, drawn.scales);
  const packedZeros = kind === 'pack-quantized' && !format.plainZeros;
  const weight_zero_point = packedZeros
    ? tableOf('I32', transposed(packRows(transposed(zeros), bits)))
    : tableOf('I8', signed(zeros));
  return {
    ...(kind === 'pack-quantized'
      ? {
          weight_packed: tableOf('I32', packRows(codes, bits)),
          weight_shape: { dtype: 'I64', shape: [2], data: [outputs, inputs] },
        }
      : { weight: tableOf('I8', signed(codes)) }),
    weight_scale,
    ...(!symmetric && { weight_zero_point }),
    ...(format.ordered && { weight_g_idx: index }),
  };
}

/** What config.json says. */
export function quantizationConfig(format: PackedFormat): object {
  const { kind, bits, groupSize: group_size, symmetric, ordered = false, perTensor, ignored = [] } = format;
  if (kind === 'gptq' || kind === 'gptq_v2')
    return {
      quant_method: 'gptq',
      bits,
      group_size,
      sym: symmetric,
      desc_act: ordered,
      damp_percent: 0.01,
      static_groups: false,
      true_sequential: true,
      ...(kind === 'gptq_v2' && { checkpoint_format: 'gptq_v2' }),
    };
  if (kind === 'awq')
    return {
      quant_method: 'awq',
      bits,
      group_size,
      version: 'gemm',
      zero_point: true,
      modules_to_not_convert: ignored,
    };
  const strategy = perTensor ? 'tensor' : group_size === -1 ? 'channel' : 'group';
  const weights = {
    num_bits: bits,
    type: 'int',
    symmetric,
    strategy,
    group_size: strategy === 'group' ? group_size : null,
    actorder: ordered ? 'group' : null,
    dynamic: false,
    observer: 'minmax',
  };
  return {
    quant_method: 'compressed-tensors',
    format: kind,
    quantization_status: 'compressed',
    config_groups: { group_0: { targets: ['Linear'], weights, input_activations: null, output_activations: null } },
    ignore: ['lm_head', ...ignored],
    kv_cache_scheme: null,
  };
}

export interface WrittenPacked {
  /** What each matrix in codes stands for. */
  numbers: ReadonlyMap<string, Float64Array>;
}

/**
 * Writes a checkpoint with the matrices of all layers in codes, and beside it, into `plain`, one in f32 with what `round` makes of the numbers
 * that they stand for.
 */
export async function writePacked(
  folder: string,
  plain: string,
  config: ModelConfig,
  format: PackedFormat,
  { seed = 1, round = Math.fround, change = (tensors: TensorSource[]) => tensors, json = {} } = {},
): Promise<WrittenPacked> {
  const random = new Random(seed, 'packed');
  const packed: TensorSource[] = [];
  const whole: TensorSource[] = [];
  const numbers = new Map<string, Float64Array>();
  const inFloats = (name: string) => format.ignored?.some((part) => name.includes(part));
  for (const spec of parameterNames(config)) {
    const { name, shape, layer } = spec;
    const [outputs = 0, inputs = 1] = shape;
    const isHead = format.head === true && rolesOf(spec).join() === 'head';
    if ((layer === null && !isHead) || shape.length < 2 || inFloats(name)) {
      const middle = rolesOf(spec).some((role) => /norm/i.test(role)) ? 1 : 0;
      const data = Array.from({ length: outputs * inputs }, () => Math.fround(middle + random.uniform() - 0.5));
      for (const list of [packed, whole]) list.push(source(name, { dtype: 'F32', shape: [...shape], data }));
      continue;
    }
    const drawn = drawMatrix(format, outputs, inputs, random);
    const module = name.replace(/\.weight$/, '');
    for (const [part, table] of Object.entries(packMatrix(format, drawn)))
      packed.push(source(`${module}.${part}`, table));
    numbers.set(name, standsFor(drawn));
    whole.push(source(name, { dtype: 'F32', shape: [...shape], data: [...numbers.get(name)!.map(round)] }));
  }
  const write = async (to: string, tensors: TensorSource[], settings: object) => {
    await mkdir(to, { recursive: true });
    await writeFile(join(to, 'config.json'), JSON.stringify({ ...configToJson(config), ...settings }));
    await writeSafetensors(join(to, 'model.safetensors'), tensors);
  };
  await write(folder, change(packed), { quantization_config: quantizationConfig(format), ...json });
  await write(plain, whole, {});
  return { numbers };
}
