/**
 * `npm run cuda:planted-bugs [plain|address|thread|device ...]`: plants one bug after the other into a copy of the grouped
 * products and shows which checks find it. Exits 1 where a bug is found by none, or no longer fits the source.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, execute, type Flavour, flavours, missing, root } from './build.js';

interface Bug {
  name: string;
  /** Files and what is changed in them. Each text must stand there exactly once. */
  changes: { file: string; from: string; to: string }[];
  /** The test that runs. */
  test: string;
}

const bugs: Bug[] = [
  {
    name: 'missing barrier before a stage is overwritten',
    changes: [
      {
        file: 'cuda/gemm/tile.cuh',
        from: '    __syncthreads();  // this stage has arrived for all, and the one before it has been read by all\n',
        to: '',
      },
    ],
    test: 'gemm bf16 forward groups 2 x 1, 123',
  },
  {
    name: 'missing wait for asynchronous copies',
    changes: [
      { file: 'cuda/gemm/tile.cuh', from: 'cp_async_wait<S::kStages - 2>();', to: 'cp_async_wait<S::kStages>();' },
    ],
    test: 'gemm bf16 forward groups 1 x 1, 40 x 72 x 64',
  },
  {
    name: 'swapped operands in the assembly of mma',
    changes: [
      {
        file: 'cuda/gpu.cuh',
        from: '{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}',
        to: '{%0,%1,%2,%3}, {%4,%6,%5,%7}, {%8,%9}',
      },
    ],
    test: 'gemm bf16 forward groups 1 x 1, 40 x 72 x 64',
  },
  {
    name: 'one row too many is read',
    changes: [
      {
        file: 'cuda/gemm/tile.cuh',
        from: 'return row + r < rows ? from.data',
        to: 'return row + r <= rows ? from.data',
      },
    ],
    test: 'gemm bf16 forward groups 1 x 1, 40 x 72 x 64', // rows of whole copies, the last of them behind the end
  },
  {
    name: 'two blocks add to one sum without atomics',
    changes: [
      {
        file: 'cuda/gemm/gemm.cu',
        from: 'for (int tile = blockIdx.x; tile < tiles * gemm.group_count; tile += gridDim.x)',
        to: 'for (int tile = blockIdx.x / 2; tile < tiles * gemm.group_count; tile += gridDim.x / 2)',
      },
      {
        file: 'cuda/gemm/gemm.cu',
        from: 's = group.first_segment; s < group.end_segment; s++',
        to: 's = group.first_segment + blockIdx.x % 2; s < group.end_segment; s += 2',
      },
      {
        file: 'cuda/gemm/gemm.cu',
        from: 'dim3(static_cast<unsigned>(blocks))',
        to: 'dim3(static_cast<unsigned>(blocks * 2))',
      },
    ],
    test: 'gemm bf16 weight groups 2 x 2', // two segments and nothing else to add: the numbers stay right
  },
];

function replaceOnce(file: string, from: string, to: string): void {
  const text = readFileSync(file, 'utf8');
  if (text.split(from).length !== 2)
    throw new Error(`'${from.trim()}' stands not once in ${file}: the bug no longer fits`);
  writeFileSync(file, text.replace(from, to));
}

const chosen = process.argv.slice(2);
const only = ['main', 'context', 'gemm', 'gemm_test'];
/** Where the kernels without bugs are, those of `npm run cuda:checks`. */
const soundFolder = (flavour: Flavour) => join(root, 'build/cuda-checks', flavour);
const work = mkdtempSync(join(tmpdir(), 'bts-bugs-'));
process.once('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const ready: Flavour[] = [];
for (const flavour of flavours) {
  if (chosen.length > 0 && !chosen.includes(flavour)) continue;
  const reason = await missing(flavour);
  if (reason) {
    console.log(`${flavour} is left out: ${reason}`);
    continue;
  }
  const sound = await execute(await build(flavour, soundFolder(flavour), { only }), 'gemm bf16');
  if (sound.failed) throw new Error(`${flavour} complains before any bug is planted:\n${sound.output.slice(0, 2000)}`);
  console.log(`${flavour}: nothing found without a bug`);
  ready.push(flavour);
}

let undetected = false;
for (const [index, bug] of bugs.entries()) {
  const tree = join(work, `bug-${index}`);
  for (const folder of ['cuda', 'native', 'test/cuda'])
    cpSync(join(root, folder), join(tree, folder), { recursive: true });
  for (const { file, from, to } of bug.changes) replaceOnce(join(tree, file), from, to);
  const found: string[] = [];
  for (const flavour of ready) {
    const binary = await build(flavour, join(tree, flavour), {
      tree,
      only,
      changed: ['gemm'],
      base: soundFolder(flavour),
    });
    const { failed, tookTooLong, output } = await execute(binary, bug.test);
    if (failed && !tookTooLong) found.push(`${flavour} (${whatItSaid(output)})`);
  }
  undetected ||= found.length === 0;
  console.log(`${bug.name}: ${found.length > 0 ? `found by ${found.join(', ')}` : 'FOUND BY NONE'}`);
}
process.exit(undetected ? 1 : 0);

/** The kind of a complaint, from what a binary printed. */
function whatItSaid(output: string): string {
  const kinds: [RegExp, string][] = [
    [/ThreadSanitizer: data race/, 'data race'],
    [/(?:Address|Thread)Sanitizer: ([\w-]+)/, ''],
    [/(inter-block|(read|write)-after-(read|write)) race/, ''],
    [/out of bounds/, 'out of bounds'],
    [/error (\S+), allowed/, 'numbers'],
  ];
  for (const [pattern, name] of kinds) {
    const match = pattern.exec(output);
    if (match) return name || (match[1] ?? match[0]);
  }
  return (
    output
      .split('\n')
      .find((line) => /\w/.test(line))
      ?.slice(0, 80) ?? 'failed'
  );
}
