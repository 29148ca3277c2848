import type { Device } from './device.js';
import { NativeOps, type OpArguments } from './native-ops.js';
import * as ops from './ops/index.js';

type Count = (args: never) => number;

const counts = Object.assign({}, ...Object.values(ops).map((each) => (each instanceof NativeOps ? each.flops : {})));

/** Floating-point operations of one call, from its tensors' shapes: two for each multiply-add of a matrix product. */
function opFlops<Op extends keyof OpArguments>(op: Op, args: OpArguments[Op]): number {
  return (counts[op] as Count)(args as never);
}

/** Runs `use` and returns the operations of all ops that it queued on the device. */
export async function countFlops(device: Device, use: () => unknown): Promise<number> {
  const { run } = device;
  let total = 0;
  device.run = (op, args) => {
    total += opFlops(op, args);
    run.call(device, op, args);
  };
  try {
    await use();
  } finally {
    device.run = run;
  }
  return total;
}
