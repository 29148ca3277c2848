import { renderTable } from '../lib/terminal/table.js';
import { cardOf, type Row } from './bench.js';
import { round } from './measure.js';
import { dimensionsOf, measureOps, type OpResult, threeDigits } from './ops.js';
import { peerRow, runBench } from './peer.js';
import { GPU_SIZES, SIZES, type SizeName } from './sizes.js';
import type { VersusOptions } from './versus.js';

/** An op here and in PyTorch, in milliseconds. */
interface OpComparison extends OpResult {
  torch: number | null;
  ratio: number | null;
}

/** Tokens a second of a whole model here and in PyTorch, and the most memory that either held. */
interface ModelComparison {
  work: string;
  size: SizeName;
  ours: number;
  eager: number | null;
  compiled: number | null;
  /** Times as fast as the faster of both. */
  ratio: number | null;
  mib: number;
  torchMib: number | null;
  /** Of what the faster of both held. */
  memory: number | null;
  /** Of the device's ceiling: of arithmetic in a step, of reading in decoding. */
  share: number;
}

// Beyond these it would be compiled for many minutes: one layer is, and serves for all.
const MOST_COMPILED_LAYERS = 12;
// Decoding does not see the batch of a size, nor much of its vocabulary.
const DECODED: readonly SizeName[] = ['small', 'paper-slice', 'gpu-paper'];
const SAME_DTYPE = ['--dtype', 'bfloat16', '--device', 'cuda'];

/** The same work here and in PyTorch on one GPU in the same minutes: ops one by one, training steps, decoding. */
export async function versusOnGpu(options: VersusOptions, python: string): Promise<Row> {
  const { work = ['ops', 'step', 'decode'], sizes = GPU_SIZES } = options;
  if (work.includes('stitch')) throw new Error('on a GPU stitches are compared among the ops: --work ops');
  const card = cardOf(options.device);
  console.log(card);
  const failures: string[] = [];
  // What fails on the way must not cost what was measured before it.
  const attempt = async <R>(what: string, run: () => Promise<R>): Promise<R | undefined> => {
    try {
      return await run();
    } catch (error) {
      failures.push(`${what}: ${reasonOf(error)}`);
      console.log(failures.at(-1));
      return undefined;
    }
  };
  const ops = work.includes('ops') ? await compareOps(options, python, attempt) : [];
  const models: ModelComparison[] = [];
  const add = (...compared: readonly ModelComparison[]) => {
    models.push(...compared);
    for (const each of compared) console.log(JSON.stringify(each));
  };
  if (work.includes('step')) for (const size of sizes) add(...(await compareStep(options, python, size, attempt)));
  if (work.includes('decode')) {
    const decoded = options.sizes ? sizes : DECODED;
    for (const size of decoded) add(...(await compareDecoding(options, python, size, attempt)));
  }
  if (models.length > 0) console.log(modelTable(models));
  if (failures.length > 0) process.exitCode = 1;
  return { ops, models, failed: failures.join('; ') };
}

type Attempt = <R>(what: string, run: () => Promise<R>) => Promise<R | undefined>;

/** The last line of what a process that failed had to say. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  return stderr?.trim().split('\n').at(-1) || message;
}

async function compareOps(options: VersusOptions, python: string, attempt: Attempt): Promise<OpComparison[]> {
  const ours = await attempt('ops', () => measureOps(options));
  if (!ours) return [];
  const given = Object.entries(dimensionsOf(options)).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const peer = await attempt('ops in PyTorch', () =>
    peerRow<{ peer: string; ms: Record<string, number> }>(python, [
      'pytorch_ops.py',
      ...given,
      '--steps',
      `${options.steps}`,
    ]),
  );
  const compared = ours.ops.map((op): OpComparison => {
    const torch = peer?.ms[op.name] ?? null;
    return { ...op, torch, ratio: torch && round(torch / op.ms, 2) };
  });
  console.log(`ceiling: ${ours.ceiling}; ${peer?.peer ?? 'no PyTorch'}`);
  console.log(`an op costs ${ours.queue_us} us beside its work, waiting for a result ${ours.read_us} us`);
  console.log(
    renderTable(compared, [
      { title: 'op', value: ({ name }) => name },
      { title: 'ms', value: ({ ms }) => ms, digits: 3 },
      { title: 'TFLOP/s', value: ({ tflops }) => tflops || null, format: threeDigits },
      { title: 'GB/s', value: ({ gb_s }) => gb_s || null, digits: 0 },
      { title: 'of ceiling', value: ({ share }) => share, digits: 2 },
      { title: 'torch ms', value: ({ torch }) => torch, digits: 3 },
      { title: 'times as fast', value: ({ ratio }) => ratio, digits: 2 },
    ]),
  );
  return compared;
}

const common = (size: SizeName, { steps }: VersusOptions) => ['--size', size, '--steps', `${steps}`];

/** A step as it is, and one that keeps what gradients need in place of computing it again. */
async function compareStep(options: VersusOptions, python: string, size: SizeName, attempt: Attempt) {
  const peers = await peersOf('step', 'tok_s', SIZES[size].layers > MOST_COMPILED_LAYERS ? 'layers' : 'whole', {
    options,
    python,
    size,
    attempt,
  });
  const compared: ModelComparison[] = [];
  for (const [work, more] of [
    ['step', []],
    ['step, keeping all', ['--no-recompute']],
  ] as const) {
    const ours = await attempt(`${work} ${size}`, () => runBench(['step', ...ownArgs(options, size), ...more]));
    if (ours) compared.push(compare(work, size, ours, 'tok_s', ours.flops_share as number, peers));
  }
  return compared;
}

async function compareDecoding(options: VersusOptions, python: string, size: SizeName, attempt: Attempt) {
  const peers = await peersOf('decode', 'decode_tok_s', 'layers', { options, python, size, attempt });
  const ours = await attempt(`decode ${size}`, () => runBench(['decode', ...ownArgs(options, size)]));
  return ours ? [compare('decode', size, ours, 'decode_tok_s', ours.read_share as number, peers)] : [];
}

const ownArgs = (options: VersusOptions, size: SizeName) => [
  ...common(size, options),
  ...['--dtype', 'bf16', '--device', options.device],
];

interface Peers {
  eager: Peer | undefined;
  compiled: Peer | undefined;
}
interface Peer {
  speed: number;
  mib: number;
}

async function peersOf(
  what: 'step' | 'decode',
  key: string,
  compile: 'whole' | 'layers',
  { options, python, size, attempt }: { options: VersusOptions; python: string; size: SizeName; attempt: Attempt },
): Promise<Peers> {
  const peer = async (label: string, ...more: string[]): Promise<Peer | undefined> => {
    const row = await attempt(`${what} ${size} in PyTorch, ${label}`, () =>
      peerRow(python, ['pytorch_bts.py', what, ...common(size, options), ...SAME_DTYPE, ...more]),
    );
    return row && { speed: row[key] as number, mib: row.gpu_peak_mib as number };
  };
  return { eager: await peer('eager'), compiled: await peer('compiled', '--compile', compile) };
}

function compare(
  work: string,
  size: SizeName,
  row: Row,
  key: string,
  share: number,
  { eager, compiled }: Peers,
): ModelComparison {
  const [ours, mib] = [row[key] as number, row.tensor_peak_mib as number];
  const best = [eager, compiled].reduce((best, peer) => (peer && !(best && best.speed >= peer.speed) ? peer : best));
  return {
    ...{ work, size, ours, mib, share },
    eager: eager?.speed ?? null,
    compiled: compiled?.speed ?? null,
    ratio: best ? round(ours / best.speed, 2) : null,
    torchMib: best?.mib ?? null,
    memory: best ? round(mib / best.mib, 2) : null,
  };
}

const modelTable = (models: readonly ModelComparison[]) =>
  renderTable(models, [
    { title: 'work', value: ({ work }) => work },
    { title: 'size', value: ({ size }) => size },
    { title: 'tokens/s', value: ({ ours }) => ours },
    { title: 'of ceiling', value: ({ share }) => share, digits: 2 },
    { title: 'torch', value: ({ eager }) => eager },
    { title: 'compiled', value: ({ compiled }) => compiled },
    { title: 'times as fast', value: ({ ratio }) => ratio, digits: 2 },
    { title: 'MiB', value: ({ mib }) => mib },
    { title: 'torch MiB', value: ({ torchMib }) => torchMib },
    { title: 'of its memory', value: ({ memory }) => memory, digits: 2 },
  ]);
