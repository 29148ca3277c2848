/**
 * The roofline on paper: what each kernel moves and computes at the paper's shapes, and how long a GPU's memory and tensor
 * cores need for that at least.
 */

export interface Gpu {
  name: string;
  bytesPerSecond: number;
  /** bf16 with f32 sums, dense. */
  flopsPerSecond: number;
}

/** From the vendor's data sheets: A100 SXM 80 GB, H100 SXM, B200. */
export const gpus: Gpu[] = [
  { name: 'A100', bytesPerSecond: 2.039e12, flopsPerSecond: 312e12 },
  { name: 'H100', bytesPerSecond: 3.35e12, flopsPerSecond: 989e12 },
  { name: 'B200', bytesPerSecond: 8e12, flopsPerSecond: 2250e12 },
];

export interface Call {
  /** What is computed, with its shapes. */
  call: string;
  /** Inputs read once and outputs written once: the least possible. */
  bytes: number;
  flops: number;
}

const M = 4,
  E = M - 1,
  C = 3072,
  F = 8192,
  H = 24,
  K = 1,
  D = 128;
/** Sequences, tokens of one, rows. */
const B = 4,
  T = 2048,
  N = B * T;
const bf16 = 2,
  f32 = 4;

/** Grouped product of M members: [rows, I] times [O, I]. */
function linear(call: string, rows: number, I: number, O: number): Call {
  return { call, bytes: M * (rows * I + O * I + rows * O) * bf16, flops: 2 * M * rows * I * O };
}

const queries = M * N * H * D,
  keys = M * N * K * D;
/** Pairs of query and key that see each other, over all members, sequences and heads. */
const pairs = (M * B * H * T * (T + 1)) / 2;
const square = C * C;

/** Channel gates; the f32 masters are converted before, see `masters`. */
const stitchWeights = { intoHub: (M + E) * square, intoExperts: 2 * E * square };

export const calls: Call[] = [
  linear('linear forward, query projection, N 8192, 3072 -> 3072', N, C, H * D),
  linear('linear forward, key projection, N 8192, 3072 -> 128', N, C, K * D),
  linear('linear forward, feed-forward up, N 8192, 3072 -> 8192', N, C, F),
  linear('linear forward, feed-forward down, N 8192, 8192 -> 3072', N, F, C),
  linear('linear backward input, feed-forward up, N 8192', N, F, C),
  linear('linear forward, one row: gemv, 3072 -> 8192', 1, C, F),
  linear('linear forward, eight rows: gemv, 3072 -> 8192', 8, C, F),
  {
    call: 'attention forward, B 4, T 2048',
    bytes: (2 * queries + 2 * keys) * bf16 + M * B * H * T * f32,
    flops: 4 * D * pairs,
  },
  {
    // Seven products instead of five: probabilities are computed twice, for queries and for keys.
    call: 'attention backward, B 4, T 2048',
    bytes: (4 * queries + 4 * keys) * bf16 + 2 * M * B * H * T * f32,
    flops: 14 * D * pairs,
  },
  {
    call: 'attention of one token over a cache of 8192, B 4',
    bytes: (2 * M * B * 8192 * K * D + 2 * M * B * H * D) * bf16,
    flops: 4 * M * B * 8192 * H * D,
  },
  {
    call: 'stitch forward, Experts-into-Hub, N 8192: mix',
    bytes: (M * N * C + stitchWeights.intoHub + M * N * C + E * N * C + N * C) * bf16,
    flops: 2 * N * stitchWeights.intoHub,
  },
  {
    call: 'stitch forward, Hub-into-Experts, N 8192: blend',
    bytes: (M * N * C + stitchWeights.intoExperts + M * N * C + E * N * C + M * N * C) * bf16,
    flops: 2 * N * stitchWeights.intoExperts,
  },
  {
    call: 'stitch masters to bf16, once per call',
    bytes: (M + E) * square * (f32 + bf16),
    flops: (M + E) * square,
  },
  {
    call: 'stitch backward, Experts-into-Hub: dz and dp',
    bytes: (2 * N * C + M * N * C + E * N * C + M * N * C + 2 * E * N * C) * bf16,
    flops: 8 * M * N * C,
  },
  {
    call: 'stitch backward, Experts-into-Hub: weight gradients',
    bytes: (M * N * C + E * N * C + M * N * C) * bf16 + 2 * stitchWeights.intoHub * f32,
    flops: 2 * N * stitchWeights.intoHub,
  },
  {
    call: 'stitch backward, Experts-into-Hub: dh',
    bytes: (M * N * C + E * N * C + stitchWeights.intoHub + 2 * N * C + M * N * C) * bf16,
    flops: 2 * N * stitchWeights.intoHub,
  },
];

/** Why a stitch forward reads more than its inputs once where they are larger than the L2 cache. */
export function whyMore(gpu: string, kernel: string, l2Bytes: number): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  const hidden = N * C * bf16,
    weight = square * bf16;
  const cache = `${gpu}'s L2 cache holds ${megabytes(l2Bytes)}`;
  if (kernel.startsWith('Hub-into-Experts'))
    return `${kernel}: ${cache}; h_0 (${megabytes(hidden)}) and the weights (${megabytes(2 * E * weight)}) do not fit, so one of them passes more than once.`;
  return (
    `${kernel}: ${cache}; h_0 (${megabytes(hidden)}) and the gates' weights (${megabytes(M * weight)}) do not fit, so one of them passes more than once. ` +
    `Projections that are made ahead are read back (${megabytes(hidden)} each); made in the same pass, the h_e and their weights would fill the cache too ` +
    `(${megabytes(M * hidden)}, ${megabytes((M + E) * weight)}) and pass more often still.`
  );
}

export interface Bound {
  milliseconds: number;
  by: 'memory' | 'tensor cores';
}

export function bound(call: Call, gpu: Gpu): Bound {
  const memory = call.bytes / gpu.bytesPerSecond,
    tensor = call.flops / gpu.flopsPerSecond;
  return { milliseconds: Math.max(memory, tensor) * 1000, by: memory > tensor ? 'memory' : 'tensor cores' };
}
