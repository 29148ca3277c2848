import { Device } from '../../lib/tensor/device.js';

/** 'cpu', with one thread, or 'cuda-emulated/f32' or '/bf16'. */
export function openDevice(label: string): Device {
  const [name, precision] = label.split('/') as [string, ('f32' | 'bf16')?];
  return Device.open(name, { ...(precision ? { precision } : {}), ...(name === 'cpu' ? { threads: 1 } : {}) });
}
