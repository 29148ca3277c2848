/** What ranks do in the tests: each program is run by all of them. */
import { createHash } from 'node:crypto';
import type { Communicator } from '../../lib/tensor/communicator.js';
import type { Device } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { fraction, SHAPES, sizeOf, wholeNumber } from './numbers.js';

const wholes = (rank: number, tensor: number, size: number) =>
  Float32Array.from({ length: size }, (_, i) => wholeNumber(rank, tensor, i));

const hashOf = async (tensor: Tensor) =>
  createHash('sha256')
    .update(await tensor.readBytes())
    .digest('hex');

/** bf16 numbers, of what it can hold. */
const bf16 = (device: Device, values: Float32Array, shape: readonly number[]) =>
  device.tensor(
    Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16),
    shape,
    'bf16',
  );

function read(tensors: readonly Tensor[]): Promise<number[][]> {
  return Promise.all(tensors.map(async (tensor) => [...(await tensor.read())]));
}

export interface Sums {
  f32: number[][];
  bf16: number[][];
  /** Of sums that are rounded, made twice. */
  rounded: string[];
  sample: number[];
  roundedBf16: string;
}

export async function sums(communicator: Communicator): Promise<Sums> {
  const { device, rank } = communicator;
  const make = (tensor: number, shape: readonly number[]) => wholes(rank, tensor, sizeOf(shape));
  const f32 = SHAPES.map((shape, tensor) => device.tensor(make(tensor, shape), shape));
  const halves = SHAPES.map((shape, tensor) => bf16(device, make(tensor, shape), shape));
  communicator.allReduce(f32);
  communicator.allReduce(halves);
  communicator.allReduce([]);
  const fractions = Float32Array.from({ length: 30_011 }, (_, i) => fraction(rank, i));
  const rounded = [device.tensor(fractions, [30_011]), device.tensor(fractions, [30_011])];
  for (const tensor of rounded) communicator.allReduce([tensor]);
  const roundedHalves = bf16(device, fractions, [30_011]);
  communicator.allReduce([roundedHalves]);
  return {
    f32: await read(f32),
    bf16: await read(halves),
    rounded: await Promise.all(rounded.map(hashOf)),
    sample: [...(await rounded[0]!.read())].slice(0, 100),
    roundedBf16: await hashOf(roundedHalves),
  };
}
