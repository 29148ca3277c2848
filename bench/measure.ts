export interface Timing {
  /** Seconds, the median of the runs that count. */
  median: number;
  fastest: number;
  slowest: number;
}

/** Times `run` `count` times after as many runs as warm it up. */
export async function time(run: () => Promise<unknown>, count: number, warmUp = 2): Promise<Timing> {
  const seconds: number[] = [];
  for (let i = -warmUp; i < count; i++) {
    const began = performance.now();
    await run();
    if (i >= 0) seconds.push((performance.now() - began) / 1000);
  }
  return spread(seconds);
}

export function spread(values: readonly number[]): Timing {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, fastest: sorted[0]!, slowest: sorted.at(-1)! };
}

/** Most memory that this process held at once, as the system counts it. */
export function peakResidentMiB(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

export const round = (value: number, digits: number) => Number(value.toFixed(digits));
