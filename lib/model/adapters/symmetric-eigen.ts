import { setImmediate } from 'node:timers/promises';
import { type Abortable, throwIfAborted } from '../../base/errors.js';

/** The event loop gets a turn when work has kept it for this long. */
const TURN_MS = 10;
const MOST_SWEEPS = 30;
/** Beside the roots of their diagonals, entries that are smaller count as zero. */
const NOTHING = 1e-14;

/** Eigenvalues [n], the largest first, and eigenvectors as the rows of [n, n]. */
export interface Eigen {
  values: Float64Array;
  vectors: Float64Array;
}

/**
 * The eigenvectors of a symmetric matrix [n, n] without negative eigenvalues, by Jacobi's rotations (Golub & Van Loan 8.5), which
 * make one entry after another zero. Throws ABORTED.
 */
export async function symmetricEigen(matrix: Float64Array, n: number, { signal }: Abortable = {}): Promise<Eigen> {
  const a = matrix.slice();
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  let turnEnds = performance.now() + TURN_MS;
  for (let sweep = 0, rotated = true; rotated && sweep < MOST_SWEEPS; sweep++) {
    rotated = false;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) rotated = rotate(a, vectors, n, p, q) || rotated;
      if (performance.now() < turnEnds) continue;
      await setImmediate();
      throwIfAborted(signal, 'decomposing a matrix');
      turnEnds = performance.now() + TURN_MS;
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j]! - a[i * n + i]!);
  const sorted = new Float64Array(n * n);
  for (const [row, i] of order.entries()) sorted.set(vectors.subarray(i * n, (i + 1) * n), row * n);
  return { values: Float64Array.from(order, (i) => Math.max(0, a[i * n + i]!)), vectors: sorted };
}

/** Turns rows and columns p and q such that entry (p, q) becomes zero; false where it is as good as that. */
function rotate(a: Float64Array, vectors: Float64Array, n: number, p: number, q: number): boolean {
  const [app, aqq, apq] = [a[p * n + p]!, a[q * n + q]!, a[p * n + q]!];
  if (Math.abs(apq) <= NOTHING * Math.sqrt(Math.abs(app * aqq)) || apq === 0) return false;
  const theta = (aqq - app) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  turn(a, n, 1, p, q, c, s);
  turn(a, 1, n, p, q, c, s);
  turn(vectors, n, 1, p, q, c, s);
  return true;
}

/** (x_p, x_q) becomes (c x_p - s x_q, s x_p + c x_q), of lines that begin every `line` elements and go on every `step`. */
function turn(x: Float64Array, line: number, step: number, p: number, q: number, c: number, s: number): void {
  const n = Math.sqrt(x.length);
  for (let k = 0, i = p * line, j = q * line; k < n; k++, i += step, j += step) {
    const [xp, xq] = [x[i]!, x[j]!];
    x[i] = c * xp - s * xq;
    x[j] = s * xp + c * xq;
  }
}
