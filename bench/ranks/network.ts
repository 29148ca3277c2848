/** How long sums over ranks take, and what that leaves of many devices: time = latency + bytes / bandwidth, link by link. */

export interface Link {
  /** Of a message, seconds. */
  latency: number;
  /** Bytes a second that a rank sends, at most. */
  bandwidth: number;
}

/** Fits latency and bandwidth of an all-reduce to times of several sizes, each counting by its ratio. */
export function fitLink(times: readonly { bytes: number; seconds: number }[], ranks: number): Link {
  // Weighted least squares of seconds = a + b bytes, with weights 1 / seconds^2.
  let [w, x, y, xx, xy] = [0, 0, 0, 0, 0];
  for (const { bytes, seconds } of times) {
    const weight = seconds ** -2;
    w += weight;
    x += weight * bytes;
    y += weight * seconds;
    xx += weight * bytes * bytes;
    xy += weight * bytes * seconds;
  }
  const slope = (w * xy - x * y) / (w * xx - x * x);
  return { latency: Math.max(0, (y - slope * x) / w) / rounds(ranks), bandwidth: sent(1, ranks) / slope };
}

/** Bytes that each rank sends to sum `bytes` in a ring: every part passes all ranks but one twice. */
export const sent = (bytes: number, ranks: number): number => (2 * bytes * (ranks - 1)) / ranks;
/** Messages that follow on one another: a tree there and back. */
const rounds = (ranks: number): number => 2 * Math.ceil(Math.log2(ranks));

/** Seconds of an all-reduce in a ring or tree of equal links. */
export function allReduceSeconds(bytes: number, ranks: number, { latency, bandwidth }: Link): number {
  return ranks === 1 ? 0 : rounds(ranks) * latency + sent(bytes, ranks) / bandwidth;
}

export interface Cluster {
  /** Ranks of a machine, and what joins them. */
  perMachine: number;
  within: Link;
  /** Between machines: what all ranks of a machine share. */
  between: Link;
}

/** Seconds of an all-reduce in three stages: sums within machines, between them of what each has, and back. */
export function clusterSeconds(bytes: number, ranks: number, { perMachine, within, between }: Cluster): number {
  const machines = Math.ceil(ranks / perMachine);
  const inside = allReduceSeconds(bytes, Math.min(ranks, perMachine), within);
  return inside + allReduceSeconds(bytes, machines, between);
}

/**
 * Weak scaling: the part of a step that each of many ranks computes in, where it computes `compute` seconds and sums buckets of
 * gradients. `overlap` is the part of the sums that goes on beside the backward, at most as long as that takes.
 */
export function efficiency(compute: number, sums: number, overlap: number): number {
  const BACKWARD = 2 / 3;
  const hidden = Math.min(overlap * sums, BACKWARD * compute);
  return compute / (compute + sums - hidden);
}
