/**
 * A model computed naively in bf16, on a device that computes in f32: what its error is, a device of that precision may make
 * about as well. Every op rounds what it writes, and products round what they take, op by op, with nothing fused.
 */
import { Device } from '../../lib/tensor/device.js';
import type { OpArguments } from '../../lib/tensor/native-ops.js';
import { Tensor } from '../../lib/tensor/tensor.js';

type Op = keyof OpArguments;
type Names = readonly string[];
type Given = Record<string, unknown>;

/** What products take. */
const OPERANDS: { readonly [O in Op]?: Names } = {
  linear_forward: ['x', 'weight'],
  linear_backward_input: ['dy', 'weight'],
  linear_backward_weight: ['dy', 'x'],
  swiglu_linear: ['x', 'gate', 'up'],
};
/** What those of stitches take beside hidden states. */
const STITCH_OPERANDS: Names = ['gateWeight', 'proj'];
/** What ops call the hidden states and gradients of hidden states that they write. */
const WRITTEN: Names = [
  ...['y', 'out', 'hub', 'gates', 'projected'],
  ...['dx', 'dh', 'dq', 'dk', 'dv', 'dgate', 'dup', 'dlogits', 'da', 'db', 'dg'],
];
/** Ops on weights, losses and their gradients, which are f32 everywhere. */
const IN_F32: readonly Op[] = ['convert', 'fill', 'fill_normal', 'add_scaled', 'sum_forward', 'sum_backward'];

/**
 * Makes an f32 device compute as one does whose activations are bf16, or with `products` as one that takes bf16 in products
 * alone.
 */
export function naiveBf16(device: Device, { products = false } = {}): Device {
  const run = device.run.bind(device) as (op: Op, args: Given) => void;
  const copy = (x: Tensor) => {
    using narrow = device.empty(x.shape, 'bf16');
    run('convert', { y: narrow, x });
    const y = device.empty(x.shape);
    run('convert', { y, x: narrow });
    return y;
  };
  const round = (x: Tensor) => {
    using rounded = copy(x);
    run('convert', { y: x, x: rounded });
  };
  const rounding = (op: Op, args: Given) => {
    const given = { ...args };
    const copies: Tensor[] = [];
    const rounded = (x: unknown) => {
      if (!(x instanceof Tensor) || x.dtype !== 'f32') return x;
      copies.push(copy(x));
      return copies.at(-1);
    };
    const stitch = op.startsWith('experts_into_hub') || op.startsWith('hub_into_experts');
    for (const name of OPERANDS[op] ?? (stitch ? STITCH_OPERANDS : [])) {
      const value = given[name];
      given[name] = Array.isArray(value) ? value.map(rounded) : rounded(value);
    }
    run(op, given);
    for (const each of copies) each.dispose();
    if (products || IN_F32.includes(op)) return;
    for (const name of WRITTEN) if (given[name] instanceof Tensor) round(given[name]);
  };
  device.run = (op, called) => {
    const args: Given = { ...called };
    if (products) return rounding(op, args);
    // What one op does here are several there.
    if (args.residual) {
      rounding(op, { ...args, residual: undefined });
      return rounding('add', { y: args.y, a: args.y, b: args.residual });
    }
    if (op === 'swiglu_linear') {
      const { y, x, gate, up, gateBias, upBias, activation } = called as OpArguments['swiglu_linear'];
      using gated = device.empty(y.shape);
      const linear = { x, residual: undefined };
      rounding('linear_forward', { ...linear, y: gated, weight: gate, bias: gateBias });
      rounding('linear_forward', { ...linear, y, weight: up, bias: upBias });
      return rounding('swiglu_forward', { y, gate: gated, up: y, activation });
    }
    rounding(op, args);
  };
  return device;
}

/** A CPU that computes naively what the device given computes in bf16. */
export const openNaive = ({ activations }: Device): Device =>
  naiveBf16(Device.open('cpu', { precision: 'f32' }), { products: activations === 'f32' });
