import { PythonRandom } from '../../python/random.js';

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function sampleDeviation(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
}

/** The standard error of a mean; null for a single value. */
export function meanError(values: readonly number[]): number | null {
  return values.length > 1 ? sampleDeviation(values) / Math.sqrt(values.length) : null;
}

/** lm-eval draws resamples in chunks of at most this many, each from a generator seeded with its number. */
const CHUNK = 1000;

/**
 * The standard error of any statistic, by resampling with replacement; null for a single item. With Python's generator, so
 * that it is lm-eval's to the last digit.
 */
export function bootstrapError<T>(
  items: readonly T[],
  statistic: (resample: T[]) => number,
  resamples: number,
): number | null {
  if (items.length < 2) return null;
  const values: number[] = [];
  const chunk = Math.min(CHUNK, resamples);
  for (let seed = 0; seed < Math.floor(resamples / chunk); seed++) {
    const random = new PythonRandom(seed);
    for (let i = 0; i < chunk; i++) {
      values.push(statistic(Array.from(random.choices(items.length, items.length), (at) => items[at]!)));
    }
  }
  return sampleDeviation(values);
}

interface Part {
  standardError: number | null;
  size: number;
}

/** The standard error of a mean over several tasks where each counts by its size, as lm-eval pools it. */
export function pooledError(parts: readonly Part[]): number | null {
  if (parts.some(({ standardError }) => standardError === null)) return null;
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  const squares = parts.reduce((sum, { size, standardError }) => sum + (size - 1) * standardError! ** 2 * size, 0);
  return total > parts.length ? Math.sqrt(squares / (total - parts.length) / total) : null;
}

/** The standard error of a mean of independent estimates that count the same. */
export function averageError(parts: readonly Part[]): number | null {
  if (parts.some(({ standardError }) => standardError === null)) return null;
  return Math.sqrt(parts.reduce((sum, { standardError }) => sum + standardError! ** 2, 0)) / parts.length;
}
