/** One call of one op. */
import { hashName } from '../../lib/base/random.js';
import { bytesOf, type DType, isQuantized } from '../../lib/tensor/addon.js';
import type { Device, TensorData } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { type Arguments, Draw, type Op, Values } from './reference.js';
import { decode, encode, narrow } from './reference-halves.js';
import { dequantize } from './reference-quantized.js';

export interface Case {
  op: Op;
  label: string;
  args: Record<string, unknown>;
  /** Whether it has activations, and they are bf16. */
  inBf16?: boolean;
}

/** A row of a table of cases. Its contents are drawn when they are first asked for, from a seed of its own. */
export function call<O extends Op>(op: O, label: string, args: (draw: Draw) => Arguments<O>): Case {
  let drawn: Record<string, unknown> | undefined;
  return {
    op,
    label,
    get args() {
      drawn ??= args(new Draw(hashName(`${op} ${label}`)));
      return drawn;
    },
  };
}

/** The arguments with `change` made to all contents; those that stand in two places stay one. */
function mapValues(args: Case['args'], change: (values: Values) => Values) {
  const known = new Map<Values, Values>();
  const once = (values: Values) => {
    if (!known.has(values)) known.set(values, change(values));
    return known.get(values)!;
  };
  const mapped = (arg: unknown) =>
    isList(arg) ? arg.map((one) => one && once(one)) : arg instanceof Values ? once(arg) : arg;
  return Object.fromEntries(Object.entries(args).map(([name, arg]) => [name, mapped(arg)]));
}

/** The case as a device with such activations is given it. */
export function withActivations(test: Case, activations: 'f32' | 'bf16'): Case {
  if (activations === 'f32' || !allValues(test).some(({ dtype }) => dtype === 'activation')) return test;
  const args = mapValues(test.args, (values) => {
    const { dtype, shape, data } = values;
    return dtype === 'activation'
      ? new Values(
          shape,
          data.map((x) => narrow(x, 'bf16')),
          'bf16',
        )
      : values;
  });
  return { op: test.op, label: `${test.label} bf16`, args, inBf16: true };
}

/** The label of a case with these options. */
export const describe = (options: object) =>
  Object.entries(options)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** Contents as a tensor's element type has them. */
export function contents(values: Pick<Values, 'data' | 'dtype'> & Partial<Values>): TensorData {
  const { data, dtype, shape, bytes } = values;
  if (bytes) return bytes;
  // All bits set: scales are NaN.
  if (dtype !== 'activation' && isQuantized(dtype)) return new Uint8Array(bytesOf(dtype, shape!)).fill(255);
  if (dtype === 'f32' || dtype === 'activation') return Float32Array.from(data);
  if (dtype === 'i32') return Int32Array.from(data);
  const bits = new Uint16Array(data.length);
  if (dtype === 'bf16') {
    const words = new Uint32Array(Float32Array.from(data).buffer); // whose upper halves are what bf16 holds
    for (let i = 0; i < bits.length; i++) bits[i] = words[i]! >>> 16;
  } else {
    for (let i = 0; i < bits.length; i++) bits[i] = encode(data[i]!, dtype as 'f16');
  }
  return bits;
}

/** A tensor with the given contents. */
export function upload(device: Device, values: Values): Tensor {
  const data = contents(values);
  const { shape, dtype } = values;
  return data.BYTES_PER_ELEMENT < 4 ? device.tensor(data, shape, dtype as DType) : device.tensor(data, shape);
}

/** The numbers in a tensor. */
export async function download(tensor: Tensor): Promise<Float64Array> {
  const { buffer } = await tensor.readBytes();
  const { dtype } = tensor;
  if (dtype === 'f32') return Float64Array.from(new Float32Array(buffer));
  if (dtype === 'i32') return Float64Array.from(new Int32Array(buffer));
  if (isQuantized(dtype)) return dequantize(dtype, tensor.shape, new Uint8Array(buffer));
  const bits = new Uint16Array(buffer);
  if (dtype === 'bf16') {
    const words = new Uint32Array(bits.length);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
    return Float64Array.from(new Float32Array(words.buffer));
  }
  const values = new Float64Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = decode(bits[i]!, dtype as 'f16');
  return values;
}

/** Lists may have holes. */
const isList = (value: unknown): value is (Values | undefined)[] => Array.isArray(value);
/** The contents that an argument names. */
export const valuesOf = (arg: unknown): Values[] =>
  isList(arg) ? arg.filter((one) => one !== undefined) : arg instanceof Values ? [arg] : [];
/** All of a case. */
export const allValues = ({ args }: Case): Values[] => Object.values(args).flatMap(valuesOf);

/** Runs the call; `read` receives the tensors. Contents that stand in two places are one tensor, as for an op in place. */
export async function run<R>(
  device: Device,
  test: Case,
  read: (tensors: ReadonlyMap<Values, Tensor>) => Promise<R>,
): Promise<R> {
  const { op, args } = test;
  const tensors = new Map<Values, Tensor>();
  for (const values of allValues(test)) {
    if (!tensors.has(values)) tensors.set(values, upload(device, values));
  }
  const tensor = (values: Values): Tensor => tensors.get(values)!;
  const given = Object.entries(args).map(([name, arg]) => [
    name,
    isList(arg) ? arg.map((one) => one && tensor(one)) : arg instanceof Values ? tensor(arg) : arg,
  ]);
  try {
    device.run(op, Object.fromEntries(given));
    return await read(tensors);
  } finally {
    for (const tensor of tensors.values()) tensor.dispose();
  }
}
