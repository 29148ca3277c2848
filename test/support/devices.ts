import { fileURLToPath } from 'node:url';
import { loadAddon } from '../../lib/tensor/addon.js';
import { Device, whyNotBf16 } from '../../lib/tensor/device.js';

/** A path in the folder of shared test material, which may not be there. */
export function shared(path: string): string {
  return fileURLToPath(new URL(`../../../shared/${path}`, import.meta.url));
}

/** The device that tests use unless they ask for all. */
export function openCpu(): Device {
  return Device.open('cpu', { threads: 2 });
}

export type Labelled = Device & { label: string };

/** Every kind of device that this machine has, or those of $BTS_TEST_DEVICES: cpu, cuda, cuda-emulated. */
export function* devices(): Generator<Labelled> {
  const wanted = process.env.BTS_TEST_DEVICES?.split(',') ?? ['cpu', 'cuda'];
  if (wanted.includes('cpu')) yield* cpus();
  if (wanted.includes('cuda-emulated')) yield* emulated();
  if (wanted.includes('cuda')) {
    const why = noGpu();
    if (why === undefined) yield* withPrecisions('cuda');
    else console.log(`cuda: skipped, ${why}`);
  }
}

/** Why there is no GPU to test on; undefined where there is one. */
export function noGpu(): string | undefined {
  using device = Device.open('auto');
  return device.fallback;
}

/** CUDA's kernels on the CPU, where they are built. */
export function* emulated(): Generator<Labelled> {
  try {
    yield* withPrecisions('cuda-emulated');
  } catch (error) {
    if ((error as { code?: string }).code !== 'NO_DEVICE') throw error;
    console.log(`cuda-emulated: skipped, ${(error as Error).message}`);
  }
}

/** A CUDA device of either type of activations. */
function* withPrecisions(name: string): Generator<Labelled> {
  for (const precision of ['f32', 'bf16'] as const) {
    const device = Device.open(name, { precision });
    yield Object.assign(device, { label: `${device.name}/${precision}` });
  }
}

/** The CPU once for each instruction set, and with products in bf16. */
function* cpus(): Generator<Labelled> {
  for (const { name, supported } of loadAddon().variants()) {
    if (!supported) {
      console.log(`cpu with ${name}: skipped, this processor lacks it`);
      continue;
    }
    const device = Device.open('cpu', { threads: 2, instructionSet: name });
    yield Object.assign(device, { label: `cpu/${name}` });
  }
  const why = whyNotBf16();
  if (why === undefined) {
    yield Object.assign(Device.open('cpu', { threads: 2, precision: 'bf16' }), { label: 'cpu/bf16' });
  } else console.log(`cpu with products in bf16: skipped, ${why}`);
}
