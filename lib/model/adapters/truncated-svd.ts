import { type Abortable, throwIfAborted } from '../../base/errors.js';
import type { Device } from '../../tensor/device.js';
import { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import { combined, gram, orthonormalized, times, timesTransposed } from './rows.js';
import { symmetricEigen } from './symmetric-eigen.js';

/** What is searched beyond the rank that is wanted, and how often the search is sharpened (Halko et al. 2011, sections 4.4 and 4.5). */
const OVERSAMPLING = 8;
const ITERATIONS = 2;
/** Of the largest square of a singular value, what is smaller is rounding. */
const ROUNDING = 1e-12;

/** The first singular vectors of a matrix [O, I], each scaled by the root of its singular value: u^T v is nearest to the matrix. */
export interface TruncatedSvd {
  /** [R, O] */
  left: Tensor;
  /** [R, I] */
  right: Tensor;
  /** Squares of the singular values [R], the largest first. */
  energies: Float64Array;
}

/**
 * A randomised singular value decomposition of at most this rank (Halko, Martinsson & Tropp 2011): its products are the device's, in
 * f32. The same seed gives the same bytes on the same device. Throws OUT_OF_MEMORY, ABORTED.
 */
export async function truncatedSvd(
  device: Device,
  matrix: Tensor,
  rank: number,
  seed: number,
  { signal }: Abortable = {},
): Promise<TruncatedSvd> {
  using scope = Scope.inference(device);
  const [outputs = 0, inputs = 0] = matrix.shape;
  const most = Math.min(outputs, inputs);
  const count = Math.min(rank + OVERSAMPLING, most);
  const kept = Math.min(rank, most);
  const random = scope.track(device.empty([count, inputs]));
  device.run('fill_normal', { y: random, deviation: 1, seed });

  let next = timesTransposed(device, random, matrix);
  const basis = async () => {
    using rows = next;
    throwIfAborted(signal, 'decomposing a matrix');
    return await orthonormalized(device, rows);
  };
  let q = scope.track(await basis());
  for (let i = 0; i < ITERATIONS; i++) {
    next = times(device, q, matrix);
    using across = await basis();
    next = timesTransposed(device, across, matrix);
    q = scope.exchange(q, scope.track(await basis()));
  }
  const within = scope.track(times(device, q, matrix));
  const { values, vectors } = await symmetricEigen(await gram(device, within), count, { signal });
  // The two are multiplied with each other: what one of them is divided by needs not be exact.
  const roots = values.map((value) => Math.max(value, ROUNDING * values[0]!, Number.MIN_VALUE) ** (1 / 4));
  const scaled = (scale: (root: number) => number) => vectors.map((x, i) => x * scale(roots[Math.floor(i / count)]!));
  const left = scope.track(
    combined(
      device,
      scaled((root) => root),
      q,
    ),
  );
  const right = scope.track(
    combined(
      device,
      scaled((root) => 1 / root),
      within,
    ),
  );
  const first = left.slice(0, kept);
  try {
    return { left: first, right: right.slice(0, kept), energies: values.slice(0, kept) };
  } catch (error) {
    first.dispose();
    throw error;
  }
}
