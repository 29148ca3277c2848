import { existsSync } from 'node:fs';
import { Device } from '../../tensor/device.js';
import { note } from '../../terminal/output.js';
import type { DeviceValues } from './training-options.js';

/** What NVIDIA's driver makes, also in containers that are given a GPU, and that of Windows for Linux within it. */
const GPU_SIGNS = ['/proc/driver/nvidia', '/dev/nvidia0', '/dev/nvidiactl', '/usr/lib/wsl/lib/libcuda.so.1'];

/** Opens the device asked for. Where there is a GPU, a person is told why 'auto' took the CPU. Throws NO_DEVICE, ADDON_NOT_LOADED. */
export function openDevice({ device: name, threads, precision }: DeviceValues, gpuSigns = GPU_SIGNS): Device {
  const device = Device.open(name, { threads, precision });
  if (device.fallback && process.stderr.isTTY && gpuSigns.some((path) => existsSync(path))) {
    note(`computing on the CPU: ${device.fallback}`);
  }
  return device;
}
