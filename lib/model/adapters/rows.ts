/** Few rows of many numbers on a device, f32: bases of what matrices span. */
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

/** x W^T: [k, O] of rows x [k, I] and a matrix [O, I]. */
export function timesTransposed(device: Device, x: Tensor, matrix: Tensor): Tensor {
  return product(device, x, matrix.shape[0]!, (x, y) =>
    device.run('linear_forward', { y, x, weight: [matrix], bias: undefined, residual: undefined }),
  );
}

/** x W: [k, I] of rows x [k, O] and a matrix [O, I]. */
export function times(device: Device, x: Tensor, matrix: Tensor): Tensor {
  return product(device, x, matrix.shape[1]!, (dy, dx) =>
    device.run('linear_backward_input', { dx, dy, weight: [matrix], accumulate: false }),
  );
}

/** W + u^T x of a matrix [O, I], in its place, with rows u [k, O] and x [k, I]. */
export function addOuter(device: Device, matrix: Tensor, u: Tensor, x: Tensor): void {
  using dy = u.reshape(1, ...u.shape);
  using rows = x.reshape(1, ...x.shape);
  device.run('linear_backward_weight', { dweight: [matrix], dbias: undefined, dy, x: rows });
}

function product(device: Device, x: Tensor, width: number, run: (x: Tensor, y: Tensor) => void): Tensor {
  const [count = 0] = x.shape;
  const y = device.empty([count, width]);
  try {
    using rows = x.reshape(1, ...x.shape);
    using result = y.reshape(1, count, width);
    run(rows, result);
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}

/** The products of all rows with each other [k, k]. */
export async function gram(device: Device, rows: Tensor): Promise<Float64Array> {
  using products = timesTransposed(device, rows, rows);
  return Float64Array.from(await products.read());
}

/** T x of a matrix T [k, k] from the host and rows x [k, n]. */
export function combined(device: Device, matrix: Float64Array, x: Tensor): Tensor {
  const [count = 0] = x.shape;
  using small = device.tensor(Float32Array.from(matrix), [count, count]);
  return times(device, small, x);
}

const MOST_PASSES = 5;
/** What products of so many numbers in f32 are off by. */
const ORTHONORMAL = 1e-5;
/** Of the largest square, what is smaller is rounding: it is scaled up all the same, for the next pass. */
const SMALLEST_PIVOT = 1e-6;

/**
 * Orthonormal rows that span what the rows [k, n] span: Cholesky QR (Yamamoto et al. 2015), repeated, since a pass in f32 sees no
 * more than directions within a thousandth of the largest. The products are the device's, what is k x k is f64 on the host.
 */
export async function orthonormalized(device: Device, rows: Tensor): Promise<Tensor> {
  let y = rows.share();
  try {
    for (let pass = 0; pass < MOST_PASSES; pass++) {
      const products = await gram(device, y);
      const [count = 0] = y.shape;
      if (isIdentity(products, count)) break;
      const next = combined(device, inverseCholesky(products, count), y);
      y.dispose();
      y = next;
    }
    return y;
  } catch (error) {
    y.dispose();
    throw error;
  }
}

function isIdentity(a: Float64Array, n: number): boolean {
  return a.every((x, i) => Math.abs(x - (i % (n + 1) === 0 ? 1 : 0)) <= ORTHONORMAL);
}

/** L^-1 of a symmetric matrix L L^T [n, n]; pivots are no smaller than `SMALLEST_PIVOT` of the largest entry. */
function inverseCholesky(a: Float64Array, n: number): Float64Array {
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, a[i * n + i]!);
  const least = SMALLEST_PIVOT * largest || 1;
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j] = i === j ? Math.sqrt(Math.max(sum, least)) : sum / l[j * n + j]!;
    }
  }
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = inverse.subarray(i * n, i * n + i + 1);
    row[i] = 1;
    for (let k = 0; k < i; k++) {
      const factor = l[i * n + k]!;
      for (let j = 0; j <= k; j++) row[j]! -= factor * inverse[k * n + j]!;
    }
    for (let j = 0; j <= i; j++) row[j]! /= l[i * n + i]!;
  }
  return inverse;
}
