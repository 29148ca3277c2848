/** Differences below it are not made to look large. */
const LEAST_SPAN = 0.05;
const STEPS = [1, 2, 5];

/** The smallest step of 1, 2 or 5 times a power of ten that covers `span` in at most `count` steps. */
function niceStep(/** @type {number} */ span, /** @type {number} */ count) {
  const power = 10 ** Math.floor(Math.log10(span / count));
  return (STEPS.find((step) => step * power * count >= span * (1 - 1e-9)) ?? 10) * power;
}

/**
 * An axis of whole steps that holds all values.
 * @param {readonly number[]} values
 * @param {number} count of steps, about
 */
export function valueAxis(values, count) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const span = Math.max(LEAST_SPAN, high - low);
  // Gates lie between 0 and 1.
  const from = Math.max(0, Math.min((low + high - span) / 2, 1 - span));
  const to = from + span;
  const step = niceStep(to - from, count);
  const [first, last] = [Math.floor(from / step + 1e-9), Math.ceil(to / step - 1e-9)];
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return { low: first * step, high: last * step, ticks: ticks.map((at) => ({ at, label: at.toFixed(places) })) };
}

/**
 * Whole numbers from 1 to `last` to stand below an axis, at most about `count`.
 * @param {number} last
 * @param {number} count
 */
export function countTicks(last, count) {
  const step = Math.max(1, Math.round(niceStep(Math.max(1, last - 1), count)));
  const ticks = Array.from({ length: Math.floor(last / step) }, (_, i) => (i + 1) * step);
  return step === 1 ? ticks : [1, ...ticks];
}
