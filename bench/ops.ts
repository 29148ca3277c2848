import { Device } from '../lib/tensor/device.js';
import { renderTable } from '../lib/terminal/table.js';
import { type BenchOptions, describeCeiling, isGpu, openDevice, type Row } from './bench.js';
import { round, time } from './measure.js';
import { attention } from './ops/attention.js';
import { elementwise } from './ops/elementwise.js';
import { optimizer } from './ops/optimizer.js';
import { fewRowProducts, products, wideLinear } from './ops/products.js';
import { stitches } from './ops/stitches.js';
import { type Dimensions, Inputs, type Work } from './ops/work.js';
import { verifyOp, verifyProduct } from './verify-ops.js';

export interface OpResult {
  /** The op and its shape. */
  name: string;
  ms: number;
  /** 10^12 operations, and 10^9 bytes that must be read or written, a second. */
  tflops: number;
  gb_s: number;
  /** Of the device's ceiling, whichever of both is nearer to it. */
  share: number;
}

export interface OpResults {
  ceiling: string;
  queue_us: number;
  read_us: number;
  ops: OpResult[];
}

const QUEUED = 10_000;
/** A timed run repeats an op for as long, so that neither its launch nor waiting for it counts. */
const LEAST_SECONDS = 0.02;
// What one run touches must not lie in a cache when the next one comes; above that of any GPU.
const CACHED_BYTES = 2 ** 28;

/** What passes through an op at once: what fills a GPU with the paper's hub and three experts, or what a CPU does in time. */
export function dimensionsOf({ device, rows, members }: BenchOptions): Dimensions {
  const usual = isGpu(device)
    ? { rows: 8192, members: 4, vocabulary: 32_000, matrices: 28 }
    : { rows: 512, members: 1, vocabulary: 8192, matrices: 1 };
  return { ...usual, ...(rows && { rows }), ...(members && { members }) };
}

function works(device: Device, dimensions: Dimensions): Work[] {
  return [
    // Hidden states in f32 go with weights in f32.
    ...(device.activations === 'f32' ? [wideLinear(dimensions)] : []),
    ...products(dimensions),
    ...fewRowProducts(dimensions),
    ...attention(dimensions),
    ...(dimensions.members > 1 ? stitches(dimensions) : []),
    ...elementwise(dimensions),
    ...optimizer(dimensions),
  ];
}

/** The ops that a step consists of, one by one at the paper's width, each against its ceiling. */
export async function benchOps(options: BenchOptions): Promise<Row> {
  const { ceiling, queue_us, read_us, ops } = await measureOps(options);
  console.log(`an op costs ${queue_us} us beside its work, waiting for a result ${read_us} us`);
  console.log(`ceiling: ${ceiling}`);
  console.log(
    renderTable(ops, [
      { title: 'op', value: ({ name }) => name },
      { title: 'ms', value: ({ ms }) => ms, digits: 3 },
      { title: 'TFLOP/s', value: ({ tflops }) => tflops || null, format: threeDigits },
      { title: 'GB/s', value: ({ gb_s }) => gb_s || null, digits: 0 },
      { title: 'of ceiling', value: ({ share }) => share, digits: 2 },
    ]),
  );
  const wide = ops.find(({ name }) => name.endsWith('weights in f32'));
  const product = (options.dtype === 'f32' && wide) || ops.find(({ name }) => name.startsWith('linear_forward'))!;
  const times = Object.fromEntries(ops.map(({ name, ms }) => [name, ms]));
  return { matmul_s: round(product.ms / 1000, 6), queue_us, read_us, ...times };
}

export const threeDigits = (value: number): string => value.toPrecision(3);

export async function measureOps(options: BenchOptions): Promise<OpResults> {
  using device = openDevice(options);
  const dimensions = dimensionsOf(options);
  await verify(device, dimensions);
  const before = await device.measurePeaks();
  const timed: { name: string; seconds: number; flops: number; bytes: number }[] = [];
  for (const work of works(device, dimensions)) timed.push(await measure(device, work, options));
  const { queue_us, read_us } = await overheads(device);
  const after = await device.measurePeaks();
  const peaks = {
    flops: Math.max(before.flops, after.flops),
    readBytes: Math.max(before.readBytes, after.readBytes),
  };
  const ops = timed.map(({ name, seconds, flops, bytes }): OpResult => {
    const shares = [flops / seconds / peaks.flops, bytes / seconds / peaks.readBytes];
    return {
      name,
      ms: round(seconds * 1000, 4),
      tflops: round(flops / seconds / 1e12, 4),
      gb_s: round(bytes / seconds / 1e9, 1),
      share: round(Math.max(...shares), 3),
    };
  });
  return { ceiling: describeCeiling(device, peaks), queue_us, read_us, ops };
}

/** Throws unless every op gives at few rows what a CPU gives in f32, and the first product what its formula says. */
async function verify(device: Device, dimensions: Dimensions): Promise<void> {
  await verifyProduct(device, dimensions);
  if (device.name === 'cpu' && device.precision === 'f32') return;
  const few = {
    ...dimensions,
    rows: Math.min(dimensions.rows, 128),
    members: Math.min(dimensions.members, 2),
    matrices: 1,
  };
  using cpu = Device.open('cpu');
  for (const work of works(device, few)) await verifyOp(device, cpu, work);
}

async function measure(device: Device, { name, prepare }: Work, { steps }: BenchOptions) {
  device.trim();
  const held = device.memory().liveBytes;
  using inputs = new Inputs(device);
  const first = prepare(inputs);
  const touched = device.memory().liveBytes - held;
  const copies = isGpu(device.name) ? Math.ceil(CACHED_BYTES / touched) : 1;
  const runs = [first, ...Array.from({ length: copies - 1 }, () => prepare(inputs))].map(({ run }) => run);
  const repeat = async (times: number) => {
    for (let i = 0; i < times; i++) runs[i % runs.length]!();
    await device.synchronize();
  };
  await repeat(runs.length);
  const once = (await time(() => repeat(runs.length), 1, 0)).median / runs.length;
  const times = Math.max(1, Math.ceil(LEAST_SECONDS / once));
  const seconds = (await time(() => repeat(times), steps, 1)).median / times;
  return { name, seconds, flops: first.flops ?? 0, bytes: first.bytes ?? 0 };
}

/** Microseconds that an op costs beside its work, queued after others; and that waiting for a result costs. */
async function overheads(device: Device): Promise<{ queue_us: number; read_us: number }> {
  using nothing = device.full([1], 0);
  const queued = await time(async () => {
    for (let i = 0; i < QUEUED; i++) device.run('fill', { y: nothing, value: 0 });
    await device.synchronize();
  }, 5);
  const read = await time(async () => {
    for (let i = 0; i < QUEUED / 10; i++) await nothing.item();
  }, 5);
  return { queue_us: round((queued.median / QUEUED) * 1e6, 2), read_us: round((read.median / QUEUED) * 1e7, 2) };
}
