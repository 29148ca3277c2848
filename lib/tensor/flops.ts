import type { NativeTensor, OpArguments } from '../addon.js';
import type { Device } from './device.js';

type Count = (args: never) => number;

/** C = A B with A [rows, depth] and B [depth, cols]. */
const product = (rows: number, depth: number, cols: number) => 2 * rows * depth * cols;
const linear = (x: NativeTensor, y: NativeTensor): number => {
  const [members = 0, rows = 0, inputs = 0] = x.shape;
  return members * product(rows, inputs, y.shape[2]!);
};

/** `products` multiplications of matrices with all keys that the queries see; of a cache, with every slot. */
const attention = (q: NativeTensor, k: NativeTensor, starts: NativeTensor | undefined, window: number) => {
  const [members = 0, batch = 0, tokens = 0, heads = 0, width = 0] = q.shape;
  const reach = window > 0 ? Math.min(window, k.shape[2]!) : k.shape[2]!;
  const keys = starts ? tokens * reach : (reach * (reach + 1)) / 2 + (tokens - reach) * reach;
  return (products: number) => products * 2 * members * batch * heads * width * keys;
};

/** Both directions multiply with all projections, a stitch into the experts with no gate of the hub's own. */
const stitch = (h: NativeTensor, gateWeight: NativeTensor, gatesRead: number) => {
  const [members = 0, rows = 0, width = 0] = h.shape;
  return product(rows, width, gatesRead * gateWeight.shape[1]!) + (members - 1) * product(rows, width, width);
};
const members = (h: NativeTensor) => h.shape[0]!;

type Counts = { [Op in keyof OpArguments]?: (args: OpArguments[Op]) => number };

// Ops that multiply matrices; the others are elementwise and count as nothing, here as in lib/model/cost.ts.
const COUNTS: Counts = {
  linear_forward: ({ x, y }) => linear(x, y),
  linear_backward_input: ({ dx, dy }) => linear(dx, dy),
  linear_backward_weight: ({ x, dy }) => linear(x, dy),
  swiglu_linear: ({ x, y }) => 2 * linear(x, y),
  attention_forward: ({ q, k, starts, window }) => attention(q, k, starts, window)(2),
  attention_backward: ({ q, k, window }) => attention(q, k, undefined, window)(5),
  experts_into_hub_forward: ({ h, gateWeight }) => stitch(h, gateWeight, members(h)),
  experts_into_hub_backward: ({ h, gateWeight, dh }) => (dh ? 2 : 1) * stitch(h, gateWeight, members(h)),
  hub_into_experts_forward: ({ h, gateWeight }) => stitch(h, gateWeight, members(h) - 1),
  hub_into_experts_backward: ({ h, gateWeight, dh }) => (dh ? 2 : 1) * stitch(h, gateWeight, members(h) - 1),
};

/** Floating-point operations of one call, from its tensors' shapes: two for each multiply-add of a matrix product. */
export function opFlops<Op extends keyof OpArguments>(op: Op, args: OpArguments[Op]): number {
  return (COUNTS[op] as Count | undefined)?.(args as never) ?? 0;
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
