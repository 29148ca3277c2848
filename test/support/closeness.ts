/** How far a model's results may be from a reference's. */
import * as assert from 'uvu/assert';
import type { Device } from '../../lib/tensor/device.js';
import { openNaive } from './naive-bf16.js';

type Numbers = ArrayLike<number>;
type Quantity = 'values' | 'gradients';

// Both sides round in f32 in orders of their own: sums over whole models agree to a few 1e-5, gradients to some 1e-4.
const F32 = { values: 5e-5, gradients: 2e-4 };
// As ops are judged: twice the error of the naive computation, as a length. The largest of many errors scatters about as much
// again, with every order of sums and every place where something is rounded.
const TIMES_LENGTH = 2;
export const TIMES_LARGEST = 4;

/** What a naive computation was off by. */
interface Off {
  length: number;
  largest: number;
}

export interface Close {
  /** Whether results are in f32, so that three steps of Adam can be followed. */
  readonly exact: boolean;
  /**
   * Fails where `got` is too far from `want`. `bound` is an absolute error that follows from those of what it is computed
   * from, for a number that comes close by luck.
   */
  (got: Numbers, want: Numbers, what: string, of?: { quantity?: Quantity; bound?: number }): void;
}

/**
 * Runs `compare` for a device: within what orders of summation do to f32, or in bf16 at most twice as far off as a naive
 * computation of the same in bf16 on a CPU is, which goes first. So a deep model may be as far off as its depth makes it,
 * and a shallow one no further than it must.
 */
export async function judged(device: Device, compare: (device: Device, close: Close) => Promise<void>): Promise<void> {
  if (device.precision === 'f32') return await compare(device, withinF32);
  const errors = new Map<string, Off>();
  using naive = openNaive(device);
  await compare(naive, noted(errors));
  await compare(device, within(errors, device.activations === 'bf16'));
}

const withinF32 = closeness(true, (got, want, what, { quantity = 'values' }) => {
  const tolerance = F32[quantity];
  const found = largestError(got, want) / (largest(want) || 1e-30);
  assert.ok(found <= tolerance, `${what} differs by ${found.toExponential(2)}, allowed are ${tolerance}`);
});

const noted = (errors: Map<string, Off>) =>
  closeness(false, (got, want, what, { bound = 0 }) => {
    const [length, largest] = [distance(got, want), largestError(got, want)].map((error) => Math.max(bound, error));
    errors.set(what, { length: length!, largest: largest! });
  });

const within = (errors: ReadonlyMap<string, Off>, roundsResults: boolean) =>
  closeness(false, (got, want, what) => {
    // For where the naive computation is exact by luck: half of the last place of what the result holds.
    const place = roundsResults ? 2 ** (Math.floor(Math.log2(largest(want) || 1)) - 8) : 0;
    const naive = errors.get(what)!;
    const check = (kind: string, found: number, allowed: number) =>
      assert.ok(
        found <= allowed,
        `${what} differs by ${found.toExponential(2)} in ${kind}, allowed are ${allowed.toExponential(2)}`,
      );
    check('length', distance(got, want), Math.max(TIMES_LENGTH * naive.length, place * Math.sqrt(want.length)));
    check('its worst number', largestError(got, want), Math.max(TIMES_LARGEST * naive.largest, place));
  });

function closeness(
  exact: boolean,
  check: (got: Numbers, want: Numbers, what: string, of: { quantity?: Quantity; bound?: number }) => void,
): Close {
  return Object.assign(
    (...[got, want, what, of = {}]: Parameters<Close>) => {
      assert.is(got.length, want.length);
      check(got, want, what, of);
    },
    { exact },
  );
}

/** The largest difference; NaN differs infinitely. */
export function largestError(got: Numbers, want: Numbers): number {
  let most = 0;
  for (let i = 0; i < want.length; i++) {
    const error = Math.abs(got[i]! - want[i]!);
    most = error <= most ? most : Number.isNaN(error) ? Infinity : error;
  }
  return most;
}

function largest(values: Numbers): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}

/** The length of the difference of two vectors. */
export function distance(got: Numbers, want: Numbers): number {
  let sum = 0;
  for (let i = 0; i < want.length; i++) sum += (got[i]! - want[i]!) ** 2;
  return Math.sqrt(sum);
}
