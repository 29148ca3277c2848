/** log(sum(exp(values))), whatever their size. */
export function logSumExp(values: Float32Array | Float64Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const value of values) if (!(value <= top)) top = value;
  if (top === Number.NEGATIVE_INFINITY) return top;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - top);
  return top + Math.log(sum);
}
