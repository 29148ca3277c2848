import { Device } from '../tensor/device.js';
import { present } from './options.js';
import { note } from './output.js';
import type { DeviceValues } from './training-options.js';

/** Opens the device asked for. A person is told why 'auto' took the CPU. Throws NO_DEVICE, ADDON_NOT_LOADED. */
export function openDevice({ device: name, threads, precision }: DeviceValues): Device {
  const device = Device.open(name, present({ threads, precision }));
  if (device.fallback && process.stderr.isTTY) note(`computing on the CPU: ${device.fallback}`);
  return device;
}
