/**
 * `npm run cuda:report [-- --json] [--arch 80,90] [--file stitch] [--roofline]`: every kernel on every architecture as nvcc compiles it, and the
 * roofline on paper. `--roofline` leaves out what needs nvcc. Exits 1 where a kernel spills or misses the tensor cores.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { opSources } from '../../test/cuda/build.js';
import { compileKernels, findNvcc, type KernelFacts } from './cubin.js';
import { bound, calls, gpus, stitchLeast } from './roofline.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const architectures = ['80', '86', '89', '90', '100', '120'];
const precisions = ['bf16', 'f32'] as const;
/** Kernels that must multiply on tensor cores. */
const onTensorCores =
  /^(gemm_kernel|attention_kernel|query_gradients_kernel|key_gradients_kernel|mix_kernel|blend_kernel)/;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' },
    arch: { type: 'string' },
    roofline: { type: 'boolean' },
    file: { type: 'string' },
  },
});

interface Facts {
  sharedBytes: Record<string, number>;
  stitchBytes: Record<string, { intoHub: number; intoExperts: number }>;
}

/** Compiles and runs facts.cc. */
async function readFacts(folder: string): Promise<Facts> {
  const binary = join(folder, 'facts');
  const sources = [join(root, 'bench/cuda/facts.cc'), join(root, 'cuda/emulation/cuda_emu.cc')];
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
  const files = opSources().filter((name) => name !== 'ops_cuda.cu' && name.includes(values.file ?? ''));
  const archs = values.arch?.split(',') ?? architectures;
  const jobs = archs.flatMap((arch) =>
    files.flatMap((file) => precisions.map((precision) => ({ arch, file, precision }) as const)),
  );
  const rows: Row[] = [];
  const queue = jobs.values();
  let done = 0;
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => {
      for (const { arch, file, precision } of queue) {
        const job = { source: join(root, 'cuda', file), arch, flags: precision === 'bf16' ? ['-DBTS_BF16'] : [] };
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

/** Dynamic shared memory of a kernel with tiles. */
function dynamicSharedBytes(kernel: string, facts: Facts): number | undefined {
  const names: [RegExp, string][] = [
    [/^gemm_kernel<.*Shape<128/, 'gemm large'],
    [/^gemm_kernel/, 'gemm small'],
    [/^mix_kernel<Shape<128/, 'mix of 4'],
    [/^mix_kernel<Shape<64, 64/, 'mix of 8'],
    [/^mix_kernel/, 'mix of 16'],
    [/^blend_kernel/, 'blend'],
    [/^attention_kernel<128>/, 'attention'],
    [/^query_gradients_kernel<128>/, 'query_gradients'],
    [/^key_gradients_kernel<128>/, 'key_gradients'],
  ];
  const found = names.find(([pattern]) => pattern.test(kernel));
  return found && facts.sharedBytes[found[1]];
}

function table(header: string[], rows: string[][]): string {
  const widths = header.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]!.length)));
  const line = (row: string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ');
  return [header, ...rows].map(line).join('\n');
}

const folder = mkdtempSync(join(tmpdir(), 'bts-report-'));
const facts = await readFacts(folder);
const kernels = values.roofline ? [] : await compileAll();
const wrong = kernels.filter(
  ({ kernel, precision, spillBytes, tensor }) =>
    spillBytes > 0 || (precision === 'bf16' && onTensorCores.test(kernel) && tensor === 0),
);
const roofline = calls.map((call) => ({
  ...call,
  bounds: Object.fromEntries(gpus.map((gpu) => [gpu.name, bound(call, gpu)])),
}));
const stitch = Object.entries(facts.stitchBytes).map(([gpu, bytes]) => ({
  gpu,
  intoHub: { bytes: bytes.intoHub, ofLeast: bytes.intoHub / stitchLeast.intoHub },
  intoExperts: { bytes: bytes.intoExperts, ofLeast: bytes.intoExperts / stitchLeast.intoExperts },
}));

if (values.json) {
  console.log(JSON.stringify({ kernels, sharedBytes: facts.sharedBytes, roofline, stitch }, undefined, 2));
} else {
  if (kernels.length > 0) {
    const rows = kernels.map((k) => [
      `sm_${k.arch} ${k.kernel}`,
      ...[
        k.registers,
        dynamicSharedBytes(k.kernel, facts) ?? k.staticSharedBytes,
        k.spillBytes,
        k.tensor,
        k.matrixLoads,
        k.asynchronousCopies,
      ].map(String),
    ]);
    console.log(table(['kernel', 'registers', 'shared', 'spilled', 'HMMA', 'LDSM', 'LDGSTS'], rows));
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
    "\nThe stitch forward's traffic with device memory under the kernels' tile order, over inputs once and outputs once",
  );
  console.log(
    table(
      ['GPU', 'Experts-into-Hub MB', 'of least', 'Hub-into-Experts MB', 'of least'],
      stitch.map((s) => [
        s.gpu,
        (s.intoHub.bytes / 1e6).toFixed(0),
        s.intoHub.ofLeast.toFixed(2),
        (s.intoExperts.bytes / 1e6).toFixed(0),
        s.intoExperts.ofLeast.toFixed(2),
      ]),
    ),
  );
}
for (const { arch, kernel, spillBytes } of wrong)
  console.error(`sm_${arch} ${kernel} ${spillBytes > 0 ? `spills ${spillBytes} bytes` : 'does not use tensor cores'}`);
process.exit(wrong.length > 0 ? 1 : 0);
