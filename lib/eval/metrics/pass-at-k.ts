/**
 * The unbiased estimate of pass@k (Chen et al. 2021, equation 1): the probability that of k samples, drawn from n of which
 * c are correct, at least one is. 1 - C(n-c, k) / C(n, k), as a product so that nothing overflows.
 */
export function passAtK(n: number, c: number, k: number): number {
  if (n - c < k) return 1;
  let none = 1;
  for (let i = n - c + 1; i <= n; i++) none *= 1 - k / i;
  return 1 - none;
}
