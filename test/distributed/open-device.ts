import { Device } from '../../lib/tensor/device.js';

/** Tells so where there is no such device here. */
export function isMissing(label: string): boolean {
  try {
    openDevice(label).dispose();
    return false;
  } catch (error) {
    if ((error as { code?: string }).code !== 'NO_DEVICE') throw error;
    console.log(`${label}: skipped, ${(error as Error).message}`);
    return true;
  }
}

/** 'cpu', with one thread, or 'cuda-emulated/f32' or '/bf16'. */
export function openDevice(label: string): Device {
  const [name, precision] = label.split('/') as [string, ('f32' | 'bf16')?];
  return Device.open(name, { ...(precision ? { precision } : {}), ...(name === 'cpu' ? { threads: 1 } : {}) });
}
