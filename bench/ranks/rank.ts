/** One rank of `bench -- scale --ranks`: writes what it measured as JSON to the file named. */
import { readFileSync, writeFileSync } from 'node:fs';
import { findLaunch } from '../../lib/base/launch.js';
import { openCommunicator } from '../../lib/tensor/open-communicator.js';
import { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { AdamW } from '../../lib/train/adamw.js';
import { GradientSync } from '../../lib/train/gradient-sync.js';
import { type BenchOptions, openDevice } from '../bench.js';
import { time } from '../measure.js';
import { SIZES } from '../sizes.js';
import { openStitched, randomBatch } from '../stitched.js';
import type { Measured } from './measured.js';

const [text = '', file = ''] = process.argv.slice(2);
const options: BenchOptions = JSON.parse(text);
const shape = SIZES[options.size];
using device = openDevice(options);
using communicator = await openCommunicator(device, findLaunch());
using model = await openStitched(device, shape, options.dtype);
using optimizer = new AdamW(device, model.trainable);
const batch = randomBatch(shape);

let given = 0;
const allReduce = communicator.allReduce.bind(communicator);
communicator.allReduce = (tensors: readonly Tensor[]) => {
  given += tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  allReduce(tensors);
};
const sync = new GradientSync(communicator, model.trainable);

async function step(): Promise<void> {
  sync.begin();
  optimizer.zeroGradients();
  using scope = Scope.recording(device, { keep: options.recompute ? 0 : Number.POSITIVE_INFINITY });
  const loss = model.trainingLoss(scope, batch, batch.targets.length * communicator.size, 0);
  scope.backward(loss, sync.watch);
  sync.finish();
  using norm = optimizer.gradientNorm();
  optimizer.update(norm, 1e-4);
  await norm.item();
  await sync.learn();
}

/** What went out by the loopback interface since the machine was started: of all processes. */
const loopbackBytes = () => Number(/^\s*lo:(?:\s+\d+){8}\s+(\d+)/m.exec(readFileSync('/proc/net/dev', 'utf8'))?.[1]);

/** Median seconds of a sum of so many bytes, begun by all ranks together. */
async function sumSeconds(bytes: number): Promise<number> {
  using tensor = device.full([bytes / 4], 0);
  const sum = async () => {
    allReduce([tensor]);
    await tensor.settled();
  };
  await communicator.barrier();
  return (await time(sum, 7)).median;
}

await step();
await communicator.barrier();
given = 0;
const before = loopbackBytes();
const timing = await time(step, options.steps, 0);
await communicator.barrier();
const [after, bytesGiven] = [loopbackBytes(), given / options.steps];
const sums = [];
for (const bytes of [4, 2 ** 16, 2 ** 20, 2 ** 23, 2 ** 25]) sums.push({ bytes, seconds: await sumSeconds(bytes) });

const measured: Measured = {
  seconds: timing.median,
  parameters: model.trainable.reduce((sum, { value }) => sum + value.size, 0),
  bytesGiven,
  bytesSent: (after - before) / options.steps / communicator.size,
  sums,
};
if (communicator.rank === 0) writeFileSync(file, JSON.stringify(measured));
