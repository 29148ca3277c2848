/** How results are judged against the references. */
import * as assert from 'uvu/assert';
import type { Device } from '../../lib/tensor/device.js';
import { type Case, download, run, valuesOf } from './case.js';
import { references } from './op-test.js';
import {
  type Arguments,
  exact,
  mixed,
  mixedProducts,
  type Op,
  type Reference,
  type Round,
  single,
  type Values,
} from './reference.js';
import { narrow } from './reference-halves.js';

/** What a device computes in. */
export type Arithmetic = Pick<Device, 'activations' | 'precision'>;

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

  constructor({ op, args, inBf16 = false }: Case, { precision }: Arithmetic) {
    const reference = references[op] as Reference<Op>;
    const evaluate = (round: Round): [string, Float64Array | Float64Array[]][] =>
      Object.entries(reference(args as unknown as Arguments<Op>, round));
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
