/** What ranks do in the tests: each program is run by all of them. */
import { createHash } from 'node:crypto';
import type { Communicator } from '../../lib/tensor/communicator.js';
import type { Device } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { fraction, ROUNDED, SHAPES, sizeOf, wholeNumber } from './numbers.js';
import { makeRuns } from './training-jobs.js';

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
  /** Hashes of the same sums, which are rounded, made twice. */
  rounded: string[];
  sample: number[];
  roundedBf16: string;
}

async function sums(communicator: Communicator): Promise<Sums> {
  const { device, rank } = communicator;
  const make = (tensor: number, shape: readonly number[]) => wholes(rank, tensor, sizeOf(shape));
  const f32 = SHAPES.map((shape, tensor) => device.tensor(make(tensor, shape), shape));
  const halves = SHAPES.map((shape, tensor) => bf16(device, make(tensor, shape), shape));
  communicator.allReduce(f32);
  communicator.allReduce(halves);
  communicator.allReduce([]);
  const fractions = Float32Array.from({ length: ROUNDED }, (_, i) => fraction(rank, i));
  const rounded = [device.tensor(fractions, [ROUNDED]), device.tensor(fractions, [ROUNDED])];
  for (const tensor of rounded) communicator.allReduce([tensor]);
  const roundedHalves = bf16(device, fractions, [ROUNDED]);
  communicator.allReduce([roundedHalves]);
  return {
    f32: await read(f32),
    bf16: await read(halves),
    rounded: await Promise.all(rounded.map(hashOf)),
    sample: [...(await rounded[0]!.read())].slice(0, 100),
    roundedBf16: await hashOf(roundedHalves),
  };
}

export interface Moves {
  /** What each root had, by root. */
  broadcast: number[][];
  /** Of a long list of tensors. */
  many: number[];
  /** What the rank before this one had. */
  received: number[];
  receivedBytes: string;
  sentBytes: string;
  /** Ops before and behind a call. */
  ordered: number[];
  /** Values that were gathered while the queue was busy. */
  gathered: unknown[];
}

async function moves(communicator: Communicator): Promise<Moves> {
  const { device, rank, size } = communicator;
  const own = [...Array(size).keys()].map(() => device.tensor(Float32Array.of(rank, rank + 0.5), [2]));
  for (const [root, tensor] of own.entries()) communicator.broadcast([tensor], root);

  const many = Array.from({ length: 200 }, (_, i) => device.full([i % 3], rank + i));
  communicator.allReduce(many);

  // Round the ring, and more than any MPI sends ahead.
  const large = device.tensor(wholes(rank, 1, 500_000), [500_000]);
  const from = device.empty([500_000]);
  const [next, before] = [(rank + 1) % size, (rank + size - 1) % size];
  if (rank % 2 === 0) communicator.send(large, next);
  communicator.receive(from, before);
  if (rank % 2 === 1) communicator.send(large, next);

  // Ops before and behind a sum; the value that is gathered does not wait for it.
  const [x, e] = [device.full([3], rank + 1), device.full([3], rank + 1)];
  const gathered = communicator.gather({ rank, text: 'ä\n' });
  device.run('add_scaled', { y: x, x: e, scale: 2 });
  communicator.allReduce([x]);
  device.run('add_scaled', { y: x, x: e, scale: 1 });
  const twice = communicator.gather(rank * rank);
  await communicator.barrier();
  return {
    broadcast: await read(own),
    many: (await read(many)).flat(),
    received: [...(await from.read())].slice(0, 20),
    receivedBytes: await hashOf(from),
    sentBytes: await hashOf(large),
    ordered: [...(await x.read())],
    gathered: [await gathered, await twice],
  };
}

/** What a call threw; each is followed by one that must work. */
export interface Refused {
  shapes: Thrown;
  calls: Thrown;
  fault: Thrown;
  /** A sum after each of them. */
  sums: number[];
}

export interface Thrown {
  code: string;
  message: string;
}

async function thrown(action: () => unknown): Promise<Thrown> {
  try {
    await action();
    return { code: 'none', message: '' };
  } catch (error) {
    const { code = 'none', message } = error as Error & { code?: string };
    return { code, message };
  }
}

function sumOfOnes(communicator: Communicator) {
  const one = communicator.device.full([1], 1);
  communicator.allReduce([one]);
  return one.item();
}

async function refused(communicator: Communicator): Promise<Refused> {
  const { device, rank } = communicator;
  const sum = () => sumOfOnes(communicator);
  const x = device.full([rank === 1 ? 3 : 2], 1);
  communicator.allReduce([x]);
  const shapes = await thrown(() => x.read());
  const sums = [await sum()];

  const y = device.full([4], 1);
  if (rank === 1) communicator.broadcast([y], 0);
  else communicator.allReduce([y]);
  const calls = await thrown(() => y.read());
  sums.push(await sum());

  const z = faulty(device, rank === 1);
  communicator.allReduce([z]);
  const fault = await thrown(() => z.read());
  sums.push(await sum());
  return { shapes, calls, fault, sums };
}

/** A tensor that could not be computed, if so. */
function faulty(device: Device, isFaulty: boolean): Tensor {
  const table = [device.full([2, 4], 1)];
  const ids = device.tensor(Int32Array.of(isFaulty ? 7 : 1), [1]);
  const y = device.empty([1, 1, 4], device.activations);
  device.run('embedding_forward', { y, table, ids, scale: 1 });
  return y;
}

async function calls(communicator: Communicator) {
  return { ...(await sums(communicator)), ...(await moves(communicator)), ...(await refused(communicator)) };
}
export type Calls = Sums & Moves & Refused;

const forEver = () => new Promise<never>(() => setTimeout(() => undefined, 3_600_000));

/** A rank that does not make the call. */
async function absent(communicator: Communicator) {
  if (communicator.rank === 1) await forEver();
  return sumOfOnes(communicator);
}

/** The same, of values of the host. */
async function absentValue(communicator: Communicator) {
  if (communicator.rank === 1) await forEver();
  return communicator.gather(1);
}

/** Ranks that wait for one another in different calls. */
const apart = (communicator: Communicator): Promise<unknown> =>
  communicator.rank === 1 ? communicator.gather(1) : sumOfOnes(communicator);

/** A rank that is killed while the others wait for it. */
async function killed(communicator: Communicator) {
  await communicator.barrier();
  if (communicator.rank === 1) setTimeout(() => process.kill(process.pid, 'SIGKILL'), 200);
  if (communicator.rank === 1) await forEver();
  return sumOfOnes(communicator);
}

async function killedValue(communicator: Communicator) {
  await communicator.barrier();
  if (communicator.rank === 1) process.kill(process.pid, 'SIGKILL');
  return communicator.gather(1);
}

/** A rank that fails by itself. */
async function failing(communicator: Communicator) {
  await communicator.barrier();
  if (communicator.rank === 1) throw new Error('no more');
  return sumOfOnes(communicator);
}

/** Nothing more than opening it. */
const place = ({ rank, size, engine }: Communicator) => Promise.resolve([rank, size, engine]);

export const programs: Record<string, (communicator: Communicator) => Promise<unknown>> = {
  calls,
  absent,
  absentValue,
  apart,
  killed,
  killedValue,
  failing,
  place,
  /** The runs of BTS_JOBS. */
  trainings: (communicator) => makeRuns(communicator, JSON.parse(process.env.BTS_JOBS!)),
};
