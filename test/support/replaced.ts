/** Devices that do something wrong on purpose, and what must notice it. */
import * as assert from 'uvu/assert';
import type { Device } from '../../lib/tensor/device.js';
import type { OpArguments } from '../../lib/tensor/native-ops.js';

type Op = keyof OpArguments;

/** Runs `use` while one op of the device is replaced; `run` is what the device did before. */
export async function replaced<O extends Op>(
  device: Device,
  op: O,
  by: (args: OpArguments[O], run: Device['run']) => void,
  use: () => Promise<void>,
): Promise<void> {
  const { run } = device;
  const original: Device['run'] = (name, args) => run.call(device, name, args);
  device.run = (name, args) => {
    if (name === (op as Op)) by(args as unknown as OpArguments[O], original);
    else original(name, args);
  };
  try {
    await use();
  } finally {
    device.run = run;
  }
}

/** Fails unless `use` throws an error that says so. */
export async function refuses(use: () => Promise<void>, message: RegExp): Promise<void> {
  try {
    await use();
  } catch (error) {
    assert.match((error as Error).message, message);
    return;
  }
  assert.unreachable('nothing was noticed');
}
