import { whyNotBf16 } from '../lib/tensor/device.js';
import { renderTable } from '../lib/terminal/table.js';
import { type BenchOptions, isGpu, type Row } from './bench.js';
import { llamaDecode } from './llama.js';
import { round } from './measure.js';
import type { Precision } from './models.js';
import { peerRow, runBench, TORCH_DTYPE } from './peer.js';
import { CPU_SIZES, EXPERTS, SIZES, type SizeName } from './sizes.js';
import { versusOnGpu } from './versus-gpu.js';

export interface VersusOptions extends BenchOptions {
  /** A Python that has torch. */
  peerPython?: string;
  /** A folder in which node-llama-cpp is installed; without it llama.cpp is left out. */
  peerLlama?: string;
  /** Default: those that suit the device. */
  sizes?: readonly SizeName[];
  /** Default: all. */
  work?: readonly Work['what'][];
}

interface Work {
  what: 'step' | 'stitch' | 'decode' | 'ops';
  size: SizeName;
  dtype: Precision;
  /** What our matrix products take. */
  precision: Precision;
  /** Of ours and of the peer's row: the number that is compared, and whether it is a speed or a time. */
  key: string;
  isSpeed: boolean;
  /** What the peer computes in; absent: the same precision as ours. */
  peerDtype?: Precision;
}

interface Comparison extends Work {
  ours: number;
  eager: number;
  compiled: number | null;
  ratio: number;
  memory: number | null;
}

interface LlamaComparison {
  size: SizeName;
  dtype: Precision;
  ours: number;
  members: number;
  llama: number;
  ratio: number;
}

/** The same work here and in PyTorch, eager and compiled, one after the other in the same minutes. */
export async function benchVersus(options: VersusOptions): Promise<Row> {
  const { peerPython, peerLlama, sizes = CPU_SIZES, threads, steps, instructionSet } = options;
  if (!peerPython) throw new Error('versus needs --peer-python, the path of a Python that has torch');
  if (isGpu(options.device)) return await versusOnGpu(options, peerPython);
  const used = new Set<string>();
  const comparisons: Comparison[] = [];
  const llama: LlamaComparison[] = [];
  const peerMemory: Partial<Record<Work['what'], number>> = {};
  for (const work of works(sizes)) {
    if (options.work && !options.work.includes(work.what)) continue;
    const { what, size, dtype, precision, key, isSpeed, peerDtype = dtype } = work;
    const common = ['--size', size, '--threads', `${threads}`, '--steps', `${steps}`];
    const own = [what, ...common, '--dtype', dtype, '--precision', precision];
    if (instructionSet) own.push('--instruction-set', instructionSet);
    const ours = await runBench(own);
    const peerWhat = what === 'ops' ? 'matmul' : what;
    const peer = (...more: string[]) =>
      peerRow(
        peerPython,
        ['pytorch_bts.py', peerWhat, ...common, '--dtype', TORCH_DTYPE[peerDtype], ...more],
        peerLimits(instructionSet),
      );
    const eager = await peer();
    // Decoding grows its cache at each token, which would be compiled anew each time; a single product is a library's call.
    const compiled = what === 'decode' || what === 'ops' ? null : await peer('--compile');
    used.add(`instruction sets: ${ours.isa} here, ${eager.isa} in PyTorch`);
    const best = [eager, compiled].flatMap((row) => (row ? [row[key] as number] : []));
    const against = isSpeed ? Math.max(...best) : Math.min(...best);
    const reached = ours[key] as number;
    // Memory is compared with PyTorch's in f32, which comes first, whatever precision speed is compared in.
    if (peerDtype === 'f32') peerMemory[what] = eager.rss_mib as number;
    const comparison = {
      ...work,
      ours: reached,
      eager: eager[key] as number,
      compiled: compiled && (compiled[key] as number),
      ratio: round(isSpeed ? reached / against : against / reached, 2),
      memory: what === 'ops' ? null : round((ours.rss_mib as number) / peerMemory[what]!, 2),
    };
    comparisons.push(comparison);
    console.log(JSON.stringify(comparison));
    if (what === 'decode' && peerLlama) {
      const peer = await llamaDecode(peerLlama, size, dtype, options);
      // Theirs is one dense model, ours decodes with all members.
      const members = EXPERTS + 1;
      llama.push({ size, dtype, ours: reached, members, llama: peer, ratio: round((reached * members) / peer, 2) });
      console.log(JSON.stringify({ what: 'decode against llama.cpp', ...llama.at(-1) }));
    }
  }
  for (const line of used) console.log(line);
  console.log(
    renderTable(comparisons, [
      { title: 'work', value: ({ what }) => what },
      { title: 'size', value: ({ size }) => size },
      { title: 'weights', value: ({ dtype }) => dtype },
      { title: 'products', value: ({ precision }) => precision },
      { title: 'torch in', value: ({ dtype, peerDtype = dtype }) => peerDtype },
      { title: 'unit', value: ({ key }) => key },
      { title: 'ours', value: ({ ours }) => ours },
      { title: 'torch', value: ({ eager }) => eager },
      { title: 'compiled', value: ({ compiled }) => compiled },
      { title: 'times as fast', value: ({ ratio }) => ratio, digits: 2 },
      { title: 'memory of torch f32', value: ({ memory }) => memory, digits: 2 },
    ]),
  );
  if (llama.length > 0) {
    console.log(
      renderTable(llama, [
        { title: 'decoding', value: ({ size }) => size },
        { title: 'weights', value: ({ dtype }) => dtype },
        { title: 'ours', value: ({ ours }) => ours },
        { title: 'members', value: ({ members }) => members },
        { title: 'llama.cpp, one model', value: ({ llama }) => llama },
        { title: 'times as fast for each', value: ({ ratio }) => ratio, digits: 2 },
      ]),
    );
  }
  return Object.fromEntries([
    ...comparisons.map(
      ({ what, size, dtype, precision, ratio }) =>
        [[what, size, dtype, ...(precision === 'bf16' ? ['with products in bf16'] : [])].join(' '), ratio] as const,
    ),
    ...llama.map(({ size, dtype, ratio }) => [`llama.cpp ${size} ${dtype}`, ratio] as const),
  ]);
}

function works(sizes: readonly SizeName[]): Work[] {
  const order = Object.keys(SIZES).filter((size) => sizes.includes(size as SizeName)) as SizeName[];
  const product = { what: 'ops', size: order[0]!, key: 'matmul_s', isSpeed: false } as const;
  const products: Work[] = [
    { ...product, dtype: 'f32', precision: 'f32' },
    { ...product, dtype: 'bf16', precision: 'f32', peerDtype: 'f32' },
    { ...product, dtype: 'bf16', precision: 'bf16' },
  ];
  const models = order.flatMap((size): Work[] => {
    const f32 = { size, dtype: 'f32', precision: 'f32' } as const;
    const bf16 = { size, dtype: 'bf16', precision: 'f32' } as const;
    return [
      { ...f32, what: 'step', key: 'tok_s', isSpeed: true },
      { ...bf16, what: 'step', key: 'tok_s', isSpeed: true },
      { ...bf16, what: 'step', precision: 'bf16', key: 'tok_s', isSpeed: true },
      { ...f32, what: 'stitch', key: 'forward_backward_s', isSpeed: false },
      { ...f32, what: 'decode', key: 'decode_tok_s', isSpeed: true },
      { ...bf16, what: 'decode', key: 'decode_tok_s', isSpeed: true, peerDtype: 'f32' },
    ];
  });
  const why = whyNotBf16();
  if (why !== undefined) console.log(`products in bf16 are left out: ${why}`);
  return [...products, ...models].filter(({ precision }) => precision === 'f32' || why === undefined);
}

/** Holds PyTorch and the libraries below it to an instruction set, each by its own variable. */
function peerLimits(instructionSet: string | undefined): Record<string, string> {
  if (instructionSet === 'avx2') {
    return { ATEN_CPU_CAPABILITY: 'avx2', ONEDNN_MAX_CPU_ISA: 'AVX2', MKL_ENABLE_INSTRUCTIONS: 'AVX2' };
  }
  if (instructionSet === 'generic') {
    return { ATEN_CPU_CAPABILITY: 'default', ONEDNN_MAX_CPU_ISA: 'SSE41', MKL_ENABLE_INSTRUCTIONS: 'SSE4_2' };
  }
  return {};
}
