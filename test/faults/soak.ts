/**
 * `npm run test:faults -- --soak MINUTES`: training, generation, evaluation and work that is aborted amid, again and again in one
 * process. Its memory stays as it was once it is warm, and no handle, descriptor or thread is left.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BtsError } from '../../lib/base/errors.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { heldOutLosses } from '../../lib/eval/held-out-loss.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Device } from '../../lib/tensor/device.js';
import { train } from '../../lib/train/trainer.js';
import { randomTokens, writeModel } from '../support/models.js';
import { tinyMixture } from '../support/training.js';

/** What memory may grow by after the warm-up. */
const MOST_GROWTH = 0.02;
/** The part of the time that is warm-up, and that each of the two means is taken over. */
const PART = 0.2;

interface State {
  minutes: number;
  /** Of the process's own memory, what stays after garbage was collected. Pages of files come and go as the system likes. */
  residentBytes: number;
  heapBytes: number;
  /** Of the device: in tensors. */
  liveBytes: number;
  handles: number;
  descriptors: number;
  threads: number;
}

/** Works for so many minutes in a folder; false where something grew. */
export async function soak(minutes: number, folder: string): Promise<boolean> {
  if (!globalThis.gc) throw new Error('--expose-gc is missing');
  const device = Device.open('cpu', { threads: 2 });
  const hub = await writeModel(device, join(folder, 'hub'), { seed: 1 });
  const experts = { code: await writeModel(device, join(folder, 'code'), { seed: 2 }) };
  await mkdir(join(folder, 'stitched'));
  {
    using model = await StitchedModel.create(device, { hub, experts });
    await model.write(join(folder, 'stitched'));
  }
  const states: State[] = [];
  const began = performance.now();
  const now = () => (performance.now() - began) / 60_000;
  let rounds = 0;
  for (let told = -1; now() < minutes; rounds++) {
    await round(device, folder, rounds);
    if (now() - told < minutes / 100) continue;
    told = now();
    states.push(await stateOf(device, told));
    if (states.length % 10 === 1) console.log(describe(states.at(-1)!));
  }
  device.dispose();
  await writeFile(join(folder, 'soak.json'), JSON.stringify(states));
  console.log(`${rounds} rounds, ${states.length} looks`);
  return isFlat(states);
}

/** Everything once, and all that can be aborted at another moment each time. */
async function round(device: Device, folder: string, number: number): Promise<void> {
  using model = await StitchedModel.load(device, join(folder, 'stitched'), { trainable: true });
  const out = join(folder, 'out');
  const controller = new AbortController();
  for await (const { type, step } of train(model, tinyMixture(number), {
    ...{ folder: out, steps: 6, learningRate: 1e-3, checkpointEvery: 3, signal: controller.signal },
  })) {
    if (type === 'step' && step === (number % 8) + 1) controller.abort();
  }
  await rm(out, { recursive: true, force: true });
  await rm(`${out}.training`, { recursive: true, force: true });
  const prompts = [[...randomTokens(9, number)], [...randomTokens(5, number + 1)]];
  let tokens = 0;
  for await (const _ of model.generate(prompts, { maxTokens: 12, stopTokens: [] })) {
    // Leaving early is how a client goes away.
    if (number % 3 === 0 && ++tokens === number % 11) break;
  }
  const heldOut = [{ name: 'counting', heldOut: new ArrayTokens(Array.from({ length: 400 }, (_, i) => i % 256)) }];
  const stopped = new AbortController();
  setTimeout(() => stopped.abort(), number % 5);
  try {
    await heldOutLosses(model, heldOut, { sequenceLength: 16, batchSize: 2, signal: stopped.signal });
  } catch (error) {
    if (!(error instanceof BtsError && error.code === 'ABORTED')) throw error;
  }
}

async function stateOf(device: Device, minutes: number): Promise<State> {
  await device.synchronize();
  for (let i = 0; i < 3; i++) {
    globalThis.gc!();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const status = await readFile('/proc/self/status', 'utf8');
  const { heapUsed, external } = process.memoryUsage();
  return {
    minutes,
    residentBytes: 1024 * Number(/RssAnon:\s+(\d+)/.exec(status)![1]),
    heapBytes: heapUsed + external,
    liveBytes: device.memory().liveBytes,
    handles: process.getActiveResourcesInfo().length,
    descriptors: (await readdir('/proc/self/fd')).length,
    threads: Number(/Threads:\s+(\d+)/.exec(status)![1]),
  };
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
const describe = ({ minutes, residentBytes, heapBytes, liveBytes, handles, descriptors, threads }: State) =>
  `${minutes.toFixed(1)} min: resident ${megabytes(residentBytes)}, heap ${megabytes(heapBytes)}, tensors ${liveBytes} bytes, ` +
  `${handles} handles, ${descriptors} descriptors, ${threads} threads`;

/** Means of memory after the warm-up and at the end differ little, counts not at all. */
function isFlat(states: readonly State[]): boolean {
  const part = Math.max(1, Math.floor(states.length * PART));
  const first = states.slice(part, 2 * part);
  const last = states.slice(-part);
  const mean = (part: readonly State[], field: keyof State) =>
    part.reduce((sum, state) => sum + state[field], 0) / part.length;
  const least = (part: readonly State[], field: keyof State) => Math.min(...part.map((state) => state[field]));
  let flat = true;
  for (const field of ['residentBytes', 'heapBytes'] as const) {
    const growth = mean(last, field) / mean(first, field) - 1;
    if (growth > MOST_GROWTH) flat = false;
    console.log(`${growth > MOST_GROWTH ? 'failed' : 'ok'}  ${field} grew by ${(100 * growth).toFixed(2)} %`);
  }
  for (const field of ['liveBytes', 'handles', 'descriptors', 'threads'] as const) {
    const more = least(last, field) - least(first, field);
    if (more > 0) flat = false;
    console.log(`${more > 0 ? 'failed' : 'ok'}  ${field}: ${more} more`);
  }
  return flat;
}
