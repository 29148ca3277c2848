import { existsSync, readFileSync, writeFileSync } from 'node:fs';

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

const STATUS = '/proc/self/status';

/** Most memory that this process held at once, since it was last reset, as the system counts it. */
export function peakResidentMiB(): number {
  const found = existsSync(STATUS) && /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(STATUS, 'utf8'));
  return Math.round((found ? Number(found[1]) : process.resourceUsage().maxRSS) / 1024);
}

/** Forgets the peak so far, where the system can: what verifies a result is no part of the work that is measured. */
export function resetPeakResident(): void {
  if (existsSync(STATUS)) writeFileSync('/proc/self/clear_refs', '5');
}

export const round = (value: number, digits: number) => Number(value.toFixed(digits));
