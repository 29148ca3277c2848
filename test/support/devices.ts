import { fileURLToPath } from 'node:url';
import { loadAddon } from '../../lib/addon.js';
import { Device } from '../../lib/tensor/device.js';

/** A path in the folder of shared test material, which may not be there. */
export function shared(path: string): string {
  return fileURLToPath(new URL(`../../../shared/${path}`, import.meta.url));
}

/** The device that tests use unless they ask for all. */
export function openCpu(): Device {
  return Device.open('cpu', { threads: 2 });
}

/** Every kind of device that this machine has: the CPU once for each instruction set. */
export function* devices(): Generator<Device & { label: string }> {
  for (const { name, supported } of loadAddon().instructionSets()) {
    if (!supported) {
      console.log(`cpu with ${name}: skipped, this processor lacks it`);
      continue;
    }
    const device = Device.open('cpu', { threads: 2, instructionSet: name });
    yield Object.assign(device, { label: `cpu/${name}` });
  }
}
