/** One call of one op, and how its results are judged against the reference. */
import * as assert from 'uvu/assert';
import type { NativeTensor } from '../../lib/addon.js';
import { hashName } from '../../lib/data/random.js';
import type { Device } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import {
  type Arguments,
  Draw,
  exact,
  mixed,
  mixedProducts,
  type Op,
  type Reference,
  type Round,
  single,
  Values,
} from './reference.js';
import { elementwise } from './reference-elementwise.js';
import { decode, encode, narrow } from './reference-halves.js';
import { mix } from './reference-mix.js';
import { sampling } from './reference-sample.js';
import { stitches } from './reference-stitch.js';
import { transformer } from './reference-transformer.js';

export const references: { [O in Op]: Reference<O> } = {
  ...transformer,
  ...stitches,
  ...mix,
  ...sampling,
  ...elementwise,
};

export interface Case {
  op: Op;
  label: string;
  args: Record<string, unknown>;
}

/** A row of a table of cases. Its contents are drawn when they are first asked for, from a seed of its own. */
export function call<O extends Op>(op: O, label: string, args: (draw: Draw) => Arguments<O>): Case {
  let drawn: Record<string, unknown> | undefined;
  return {
    op,
    label,
    get args() {
      drawn ??= args(new Draw(hashName(`${op} ${label}`)));
      return drawn;
    },
  };
}

const ACTIVATIONS = new Set(
  (
    'x y dx dy residual a b q k v out dq dk dv dout cache gate up dgate dup logits dlogits ' +
    'h dh hub dhub gates projected dprojected'
  ).split(' '),
);
const WITHOUT_ACTIVATIONS = new Set<Op>(['fill', 'fill_normal', 'convert', 'sum_forward', 'sum_backward']);

/** What a device computes in. */
export type Arithmetic = Pick<Device, 'activations' | 'precision'>;

/** The arguments with `change` made to what is named; contents that stand in two places stay one. */
function mapValues(args: Case['args'], named: (name: string) => boolean, change: (values: Values) => Values) {
  const known = new Map<Values, Values>();
  const once = (values: Values) => {
    if (!known.has(values)) known.set(values, change(values));
    return known.get(values)!;
  };
  const mapped = (arg: unknown) => (isList(arg) ? arg.map(once) : arg instanceof Values ? once(arg) : arg);
  return Object.fromEntries(Object.entries(args).map(([name, arg]) => [name, named(name) ? mapped(arg) : arg]));
}

const rounded = ({ shape, data }: Values, dtype: Values['dtype']) =>
  new Values(
    shape,
    data.map((x) => narrow(x, 'bf16')),
    dtype,
  );

/** The case as a device with such activations is given it. */
export function withActivations(test: Case, activations: 'f32' | 'bf16'): Case {
  if (activations === 'f32' || WITHOUT_ACTIVATIONS.has(test.op)) return test;
  const args = mapValues(
    test.args,
    (name) => ACTIVATIONS.has(name),
    (values) => rounded(values, 'bf16'),
  );
  return { op: test.op, label: `${test.label} bf16`, args };
}

/** The label of a case with these options. */
export const describe = (options: object) =>
  Object.entries(options)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** A tensor with the given contents. */
export function upload(device: Device, { data, shape, dtype }: Values): Tensor {
  if (dtype === 'f32') return device.tensor(Float32Array.from(data), shape);
  if (dtype === 'i32') return device.tensor(Int32Array.from(data), shape);
  return device.tensor(
    Uint16Array.from(data, (x) => encode(x, dtype)),
    shape,
    dtype,
  );
}

/** The numbers in a tensor. */
export async function download(tensor: Tensor): Promise<Float64Array> {
  const { buffer } = await tensor.readBytes();
  const { dtype } = tensor;
  if (dtype === 'f32') return Float64Array.from(new Float32Array(buffer));
  if (dtype === 'i32') return Float64Array.from(new Int32Array(buffer));
  return Float64Array.from(new Uint16Array(buffer), (bits) => decode(bits, dtype));
}

const isList = (value: unknown): value is Values[] => Array.isArray(value);
const valuesOf = (arg: unknown): Values[] => (isList(arg) ? arg : arg instanceof Values ? [arg] : []);

/** Runs the call; `read` receives the tensors. Contents that stand in two places are one tensor, as for an op in place. */
export async function run<R>(
  device: Device,
  { op, args }: Case,
  read: (tensors: ReadonlyMap<Values, Tensor>) => Promise<R>,
): Promise<R> {
  const tensors = new Map<Values, Tensor>();
  for (const values of Object.values(args).flatMap(valuesOf)) {
    if (!tensors.has(values)) tensors.set(values, upload(device, values));
  }
  const native = (values: Values): NativeTensor => tensors.get(values)!.native;
  const given = Object.entries(args).map(([name, arg]) => [
    name,
    isList(arg) ? arg.map(native) : arg instanceof Values ? native(arg) : arg,
  ]);
  try {
    device.run(op, Object.fromEntries(given));
    return await read(tensors);
  } finally {
    for (const tensor of tensors.values()) tensor.dispose();
  }
}

interface Expected {
  name: string;
  exact: Float64Array;
  naive: Float64Array;
  /** What rounding the largest value to the output's type may cost. */
  halfPlace: number;
}

/** What each output must hold, and how far off it may be. */
export class Expectations {
  private readonly outputs = new Map<Values, Expected>();
  private readonly floor: number;

  constructor({ op, args }: Case, { activations, precision }: Arithmetic) {
    const reference = references[op] as Reference<Op>;
    const evaluate = (round: Round): [string, Float64Array | Float64Array[]][] =>
      Object.entries(reference(args as unknown as Arguments<Op>, round));
    const inBf16 = activations === 'bf16' && !WITHOUT_ACTIVATIONS.has(op);
    const naive = evaluate(inBf16 ? mixed : precision === 'bf16' ? mixedProducts : single);
    evaluate(exact).forEach(([name, truth], output) => {
      const [truths, naives] = [[truth].flat(), [naive[output]![1]].flat()];
      valuesOf(args[name]).forEach((values, i) => {
        const kept = naives[i]!.map((x) => narrow(x, values.dtype));
        this.outputs.set(values, {
          name,
          exact: truths[i]!,
          naive: kept,
          halfPlace: inBf16 ? halfPlaceOf(values, truths[i]!) : 0,
        });
      });
    });
    const largest = Math.max(0, ...[...this.outputs.values()].map(({ exact }) => largestOf(exact, Math.abs)));
    this.floor = largest && 16 * 2 ** (Math.floor(Math.log2(largest)) - 23);
  }

  /**
   * The error may be twice the largest of the naive computation in the same precision. For where that is exact by luck, it
   * may be a few units in the last place of an f32 of the largest value that the op computes, and half of one of a bf16
   * where that is what the output holds. What is no output must not change.
   */
  check(label: string, values: Values, got: Float64Array): void {
    const output = this.outputs.get(values);
    if (!output) {
      assert.ok(!values.data.some((x, i) => !Object.is(x, got[i])), `${label}: an input was changed`);
      return;
    }
    const { name, exact, naive, halfPlace } = output;
    assert.is(got.length, exact.length, `${label}: the reference of ${name} has another size`);
    const allowed = Math.max(2 * largestOf(exact, (x, i) => Math.abs(x - naive[i]!)), this.floor + halfPlace);
    exact.forEach((x, i) => {
      const error = Math.abs(got[i]! - x);
      // NaN and infinities come before any tolerance: they must be the same.
      if (Number.isFinite(x) ? error <= allowed : Object.is(got[i], x)) return;
      assert.unreachable(`${label}: ${name}[${i}] is ${got[i]}, expected ${x} (error ${error}, allowed ${allowed})`);
    });
  }
}

function halfPlaceOf({ dtype }: Values, exact: Float64Array): number {
  const largest = largestOf(exact, Math.abs);
  return dtype === 'bf16' && largest > 0 ? 2 ** (Math.floor(Math.log2(largest)) - 8) : 0;
}

/** The largest f(x, i) over the finite x. */
const largestOf = (array: Float64Array, f: (x: number, i: number) => number) =>
  array.reduce((largest, x, i) => (Number.isFinite(x) ? Math.max(largest, f(x, i)) : largest), 0);

/** Checks the case on one device. */
export async function verify(device: Device, label: string, test: Case, expected: Expectations): Promise<void> {
  await run(device, test, async (tensors) => {
    for (const [values, tensor] of tensors) expected.check(label, values, await download(tensor));
  });
}
