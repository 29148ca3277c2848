/**
 * `npm run cuda:report [-- --json] [--arch 80,90] [--file stitch] [--roofline]`: every
 * kernel on every architecture as nvcc compiles it, the roofline on paper, and what the stitch layers move. `--roofline`
 * leaves out what needs nvcc. Exits 1 where a kernel spills, misses the tensor cores or takes more shared memory than there
 * is, or a stitch kernel's order of tiles moves more than it has to.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { availableProcessors } from '../../lib/base/processors.js';
import { opSources } from '../../test/cuda/build.js';
import { compileKernels, findNvcc, type KernelFacts } from './cubin.js';
import { bound, calls, gpus, whyMore } from './roofline.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const architectures = ['80', '86', '89', '90a', '100', '120'];
const precisions = ['bf16', 'f32'] as const;
/** What a block can have, by the CUDA programming guide's table of compute capabilities. */
const sharedLimits: Record<string, number> = {
  80: 163 << 10,
  86: 99 << 10,
  89: 99 << 10,
  '90a': 227 << 10,
  100: 227 << 10,
  120: 99 << 10,
};
/** Kernels that must multiply on tensor cores, four warps together and from tiles that were copied whole. */
const onWarpgroups = /^hopper_/;
/** Kernels that are launched only where a block has room for them; others of the same name do their work elsewhere. */
const whereThereIsRoom =
  /^(gemm_kernel<.*Shape<128, 256|\w+<Shape<128, 128, 2, 4, 3, 2|mix_kernel<Shape<128, 64, 4, 2, 3)/;
/** Kernels that must multiply on tensor cores. */
const onTensorCores =
  /^(gemm_kernel|swiglu_linear_kernel|attention_kernel|query_gradients_kernel|key_gradients_kernel|mix_kernel|blend_kernel)/;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' },
    arch: { type: 'string' },
    roofline: { type: 'boolean' },
    file: { type: 'string' },
  },
});

interface Traffic {
  kernel: string;
  /** Between device memory and L2 cache, under the order of tiles that the kernels take. */
  bytes: number;
  /** Every input and output once. */
  leastBytes: number;
  /** The least of all orders that the kernels could take with this cache; of the forwards. */
  bestOrderBytes?: number;
  order?: string;
}

interface Facts {
  sharedBytes: Record<Row['precision'], Record<string, number>>;
  stitch: Record<string, { l2Bytes: number; layers: Traffic[] }>;
}

/** Compiles and runs facts.cc. */
async function readFacts(): Promise<Facts> {
  const binary = join(mkdtempSync(join(tmpdir(), 'bts-report-')), 'facts');
  const sources = ['bench/cuda/facts.cc', 'cuda/emulation/cuda_emu.cc', 'cuda/emulation/hopper.cc'].map((name) =>
    join(root, name),
  );
  await run('g++', ['-std=c++20', '-O2', '-w', `-I${join(root, 'cuda')}`, ...sources, '-o', binary]);
  const { stdout } = await run(binary);
  return JSON.parse(stdout) as Facts;
}

interface Row extends KernelFacts {
  arch: string;
  file: string;
  precision: (typeof precisions)[number];
}

/** Every kernel, in both types of activations, on every architecture. */
async function compileAll(): Promise<Row[]> {
  const nvcc = await findNvcc();
  const folder = join(root, 'build/cuda-report');
  mkdirSync(folder, { recursive: true });
  const files = opSources().filter((name) => name !== 'cuda_ops.cu' && name.includes(values.file ?? ''));
  const archs = values.arch?.split(',') ?? architectures;
  const jobs = archs.flatMap((arch) =>
    files.flatMap((file) => precisions.map((precision) => ({ arch, file, precision }) as const)),
  );
  const rows: Row[] = [];
  const queue = jobs.values();
  let done = 0;
  await Promise.all(
    Array.from({ length: availableProcessors() }, async () => {
      for (const { arch, file, precision } of queue) {
        const flags = [...(precision === 'bf16' ? ['-DBTS_BF16'] : []), ...(arch === '90a' ? ['-DBTS_SM90A'] : [])];
        const job = { source: join(root, 'cuda', file), arch, flags };
        for (const kernel of await compileKernels(nvcc, job, folder)) rows.push({ arch, file, precision, ...kernel });
        done++;
        if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${jobs.length} files compiled `);
      }
    }),
  );
  return rows.sort(
    (a, b) =>
      archs.indexOf(a.arch) - archs.indexOf(b.arch) ||
      precisions.indexOf(a.precision) - precisions.indexOf(b.precision) ||
      a.file.localeCompare(b.file) ||
      a.kernel.localeCompare(b.kernel),
  );
}

/** Shared memory of a block; nearly all of it is dynamic, and what launches it knows its size. */
function sharedBytes({ kernel, precision, staticSharedBytes }: Row, facts: Facts): number {
  const found = Object.entries(facts.sharedBytes[precision]).find(([name]) => kernel.startsWith(name));
  return found ? found[1] : staticSharedBytes;
}

/** What is wrong with a kernel. */
function complaints(row: Row, facts: Facts): string[] {
  const { arch, kernel, precision, spillBytes, serialized, tensor, warpgroupTensor, boxCopies } = row;
  const shared = sharedBytes(row, facts),
    most = sharedLimits[arch];
  const found: string[] = [];
  if (spillBytes > 0) found.push(`spills ${spillBytes} bytes`);
  if (serialized) found.push('multiplies one product after the other');
  if (precision === 'bf16' && onTensorCores.test(kernel) && tensor === 0) found.push('does not use tensor cores');
  if (onWarpgroups.test(kernel) && (warpgroupTensor === 0 || boxCopies === 0))
    found.push('does not multiply by warpgroups, or from tiles that are copied whole');
  if (most && shared > most && !whereThereIsRoom.test(kernel))
    found.push(`takes ${shared} bytes of shared memory where a block has ${most}`);
  return found.map((what) => `sm_${arch} ${precision} ${kernel} ${what}`);
}

/** How much more than the best order of its tiles a stitch kernel may move. */
const allowedOverBest = 1.15;

function table(header: string[], rows: string[][]): string {
  const widths = header.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]!.length)));
  const line = (row: string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ');
  return [header, ...rows].map(line).join('\n');
}

const facts = await readFacts();
const kernels = values.roofline ? [] : await compileAll();
const roofline = calls.map((call) => ({
  ...call,
  bounds: Object.fromEntries(gpus.map((gpu) => [gpu.name, bound(call, gpu)])),
}));
const traffic = Object.entries(facts.stitch).flatMap(([gpu, { l2Bytes, layers }]) =>
  layers.map((launch) => ({
    gpu,
    l2Bytes,
    ...launch,
    ofLeast: launch.bytes / launch.leastBytes,
    ofBestOrder: launch.bestOrderBytes && launch.bytes / launch.bestOrderBytes,
  })),
);
/** What an architecture must have and has not, where all files were compiled. */
function missing(): string[] {
  const hopper = [
    'hopper_gemm_kernel',
    'hopper_swiglu_linear_kernel',
    'hopper_mix_kernel',
    'hopper_blend_kernel',
    'hopper_attention_kernel',
    'hopper_query_gradients_kernel',
    'hopper_key_gradients_kernel',
  ];
  if (values.file || !kernels.some(({ arch }) => arch === '90a')) return [];
  return hopper
    .filter((name) => !kernels.some(({ arch, kernel }) => arch === '90a' && kernel.startsWith(name)))
    .map((name) => `sm_90a has no ${name}`);
}
const wrong = [
  ...missing(),
  ...kernels.flatMap((kernel) => complaints(kernel, facts)),
  ...traffic
    .filter(({ ofBestOrder }) => ofBestOrder !== undefined && ofBestOrder > allowedOverBest)
    .map(
      ({ gpu, kernel, ofBestOrder }) => `${gpu} ${kernel} moves ${ofBestOrder} of what the best order of tiles does`,
    ),
];

if (values.json) {
  const rows = kernels.map((kernel) => ({ ...kernel, sharedBytes: sharedBytes(kernel, facts) }));
  console.log(JSON.stringify({ kernels: rows, roofline, traffic, wrong }, undefined, 2));
} else {
  for (const arch of new Set(kernels.map((kernel) => kernel.arch))) {
    const rows = kernels
      .filter((kernel) => kernel.arch === arch)
      .map((k) => [
        `${k.kernel} ${k.precision}`,
        ...[
          k.registers,
          sharedBytes(k, facts),
          k.spillBytes,
          k.local,
          k.tensor,
          k.matrixLoads,
          k.asynchronousCopies,
          k.warpgroupTensor,
          k.boxCopies,
        ].map(String),
      ]);
    console.log(
      table(
        [`sm_${arch}`, 'registers', 'shared', 'spilled', 'LDL+STL', 'HMMA', 'LDSM', 'LDGSTS', 'HGMMA', 'UTMALDG'],
        rows,
      ),
    );
    console.log();
  }
  const time = ({ milliseconds, by }: { milliseconds: number; by: string }) =>
    `${milliseconds.toFixed(3)} ms ${by === 'memory' ? 'memory' : 'tensor'}`;
  console.log("At the paper's shapes: width 3072, feed-forward 8192, 24 heads, 1 key/value head of 128, M = 4");
  console.log(
    table(
      ['call', 'MB', 'GFLOP', ...gpus.map(({ name }) => name)],
      roofline.map((r) => [
        r.call,
        (r.bytes / 1e6).toFixed(1),
        (r.flops / 1e9).toFixed(1),
        ...gpus.map(({ name }) => time(r.bounds[name]!)),
      ]),
    ),
  );
  console.log(
    "\nTraffic of the stitch layers with device memory, N 8192, under the kernels' order of tiles: over every input and output\n" +
      'once, and over the least of all orders that the kernels could take with that L2 cache',
  );
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
  console.log(
    table(
      ['layer', 'GPU', 'MB', 'of once', 'of best order', 'order'],
      traffic.map((t) => [
        t.kernel,
        t.gpu,
        megabytes(t.bytes),
        t.ofLeast.toFixed(2),
        t.ofBestOrder?.toFixed(2) ?? '-',
        t.order ?? '-',
      ]),
    ),
  );
  for (const { gpu, kernel, l2Bytes, ofLeast, order } of traffic)
    if (order && ofLeast > allowedOverBest) console.log(whyMore(gpu, kernel, l2Bytes));
}
for (const what of wrong) console.error(what);
process.exit(wrong.length > 0 ? 1 : 0);
