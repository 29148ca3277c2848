import { existsSync } from 'node:fs';
import { BtsError } from '../../base/errors.js';
import { findLaunch, type Launch } from '../../base/launch.js';
import { Device, findGpus } from '../../tensor/device.js';
import { note } from '../../terminal/output.js';
import type { DeviceValues } from './training-options.js';

/** What NVIDIA's driver makes, also in containers that are given a GPU, and that of Windows for Linux within it. */
const GPU_SIGNS = ['/proc/driver/nvidia', '/dev/nvidia0', '/dev/nvidiactl', '/usr/lib/wsl/lib/libcuda.so.1'];

/** Opens the device asked for; of several processes of a machine each opens a GPU of its own. Where there is a GPU, a person is told why 'auto' took the CPU. Throws NO_DEVICE, ADDON_NOT_LOADED. */
export function openDevice(
  { device: name, threads, precision }: DeviceValues,
  launch?: Launch,
  gpuSigns = GPU_SIGNS,
): Device {
  const device = Device.open(launch ? ownDevice(name, launch) : name, { threads, precision });
  if (device.fallback && process.stderr.isTTY && gpuSigns.some((path) => existsSync(path))) {
    note(`computing on the CPU: ${device.fallback}`);
  }
  return device;
}

/** The GPU of a rank among those of its machine, where none is named. */
function ownDevice(name: string, { localRank }: Launch): string {
  if (name !== 'auto' && name !== 'cuda') return name;
  try {
    const gpus = findGpus().filter(({ supported }) => supported);
    return gpus.length > 0 ? `cuda:${gpus[localRank % gpus.length]!.name}` : name;
  } catch {
    return name; // Device.open says why there is none
  }
}

/** Throws BAD_OPTION where a launcher has started several processes for what one does. */
export function expectOneProcess(what: string): void {
  const { size = 1 } = findLaunch() ?? {};
  if (size === 1) return;
  throw new BtsError('BAD_OPTION', `${what} is the work of one process, and ${size} were started: start it by itself.`);
}
