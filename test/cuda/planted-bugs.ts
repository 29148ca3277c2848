/**
 * `npm run cuda:planted-bugs [plain|address|thread|device ...] [WORD ...]`: plants one bug after the other into a copy of the
 * kernels, all or those with such a word in their names, and shows which checks find it. Exits 1 where a bug is found by none,
 * or no longer fits the source.
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
  /** The device that is emulated, by default the emulation's own. */
  arch?: string;
  /** The checks that look for it, by default all. */
  flavours?: Flavour[];
  /** The file that is compiled again, by default that of the grouped products. */
  compiled?: string;
}

const bugs: Bug[] = [
  {
    name: 'missing barrier before a stage is overwritten',
    changes: [
      {
        file: 'cuda/gemm/pipeline.cuh',
        from: '    __syncthreads();  // the stage has arrived for all, and the one before it has been read by all\n',
        to: '',
      },
    ],
    test: 'gemm bf16 forward groups 2 x 1, 123',
  },
  {
    name: 'missing barrier before sums take the place of a stage',
    changes: [{ file: 'cuda/gemm/pipeline.cuh', from: '    __syncthreads();  // it has been read by all\n', to: '' }],
    test: 'gemm bf16 forward groups 2 x 1, 123',
  },
  {
    name: 'missing barrier between sums and the rows that are read of them',
    changes: [
      { file: 'cuda/gemm/epilogue.cuh', from: '    __syncwarp();\n#pragma unroll 1\n', to: '#pragma unroll 1\n' },
    ],
    test: 'gemm bf16 forward groups 2 x 1, 123',
  },
  {
    name: 'missing wait for asynchronous copies',
    changes: [
      { file: 'cuda/gemm/pipeline.cuh', from: 'cp_async_wait<S::kStages - 2>();', to: 'cp_async_wait<S::kStages>();' },
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
        from: 'source, i < rows_left ? left * sizeof(T) : 0',
        to: 'source, i <= rows_left ? left * sizeof(T) : 0',
      },
    ],
    test: 'gemm bf16 forward groups 1 x 1, 40 x 72 x 64', // rows of whole copies, the last of them behind the end
  },
  {
    name: 'two blocks add to one sum without atomics',
    changes: [
      {
        file: 'cuda/gemm/gemm.cu',
        from: 'int tile_ = blockIdx.x,',
        to: 'int tile_ = blockIdx.x / 2,',
      },
      { file: 'cuda/gemm/gemm.cu', from: 'tile_ += gridDim.x;', to: 'tile_ += gridDim.x / 2;' },
      {
        file: 'cuda/gemm/gemm.cu',
        from: 'segment_ = group().first_segment;',
        to: 'segment_ = group().first_segment + blockIdx.x % 2;',
      },
      {
        file: 'cuda/gemm/gemm.cu',
        from: 'if (++segment_ == group().end_segment) next_tile();',
        to: 'if ((segment_ += 2) >= group().end_segment) next_tile();',
      },
      {
        file: 'cuda/gemm/gemm.cu',
        from: 's = group.first_segment; s < group.end_segment; s++) steps',
        to: 's = group.first_segment + blockIdx.x % 2; s < group.end_segment; s += 2) steps',
      },
      {
        file: 'cuda/gemm/gemm.cuh',
        from: 'std::min<int64_t>(tiles, context.multiprocessors())',
        to: '2 * std::min<int64_t>(tiles, context.multiprocessors())',
      },
    ],
    test: 'gemm bf16 weight groups 2 x 2', // two segments and nothing else to add: the numbers stay right
  },
  ...hopperBugs(),
  ...hopperAttentionBugs(),
  ...hopperAttentionBackwardBugs(),
];

/** Bugs of what Hopper alone has: the emulation finds them itself, with words or with NaN. */
function hopperBugs(): Bug[] {
  const ring = 'cuda/gemm/ring.cuh';
  const bug = (name: string, file: string, from: string, to: string, test: string): Bug => ({
    name: `Hopper: ${name}`,
    changes: [{ file, from, to }],
    test,
    arch: '90',
    flavours: ['plain'],
  });
  const deep = 'gemm bf16 forward groups 2 x 1, 136 x 264 x 200';
  return [
    bug('missing fence before a group of products', ring, '      wgmma_fence();\n', '', deep),
    bug('missing wait for a stage', ring, '    barrier_wait(arrived_ + place, round_ & 1);\n', '', deep),
    bug('wrong parity for a stage', ring, 'arrived_ + place, round_ & 1', 'arrived_ + place, ~round_ & 1', deep),
    bug(
      'wrong parity for a place in the ring',
      ring,
      'read_ + place_, ~round_ & 1',
      'read_ + place_, round_ & 1',
      deep,
    ),
    bug('a stage is handed back too early', ring, 'wgmma_wait<1>();', 'wgmma_wait<2>();', deep),
    bug('missing wait for the last products', ring, '    wgmma_wait<0>();\n', '', deep),
    bug('fewer bytes are announced than land', ring, '(Stage::kLeft + count', '(count', deep),
    bug('a descriptor points elsewhere', 'cuda/hopper.cuh', 'kGroup / 16 << 32', 'kGroup / 8 << 32', deep),
    bug(
      'the strips of an operand lie elsewhere',
      'cuda/hopper.cuh',
      'kStrip / 16 : 1',
      'kStrip / 32 : 1',
      'gemm bf16 input groups 2 x 1, 136 x 264 x 200',
    ),
  ];
}

/** Those of attention, which keeps several products in flight and has its warpgroups take turns. */
function hopperAttentionBugs(): Bug[] {
  const kernel = 'cuda/attention_hopper.cuh';
  const bug = (name: string, from: string, to: string, file = kernel): Bug => ({
    name: `Hopper's attention: ${name}`,
    changes: [{ file, from, to }],
    test: 'hopper attention, T 150, D 128',
    arch: '90',
    flavours: ['plain'],
    compiled: 'attention_hopper_test',
  });
  const wait = '    wgmma_wait<0>();\n    settle(scores);';
  return [
    bug('weights are rounded while they are multiplied', wait, `    round_weights();\n${wait}`),
    bug('sums shrink while they grow', wait, `    for (float& sum : d) sum *= shrink[0];\n${wait}`),
    bug('scores are read before they are there', 'wgmma_wait<1>();', 'wgmma_wait<2>();'),
    bug('scores do not begin at zero', ', k > 0);', ', true);'),
    bug('a left operand in registers has its rows exchanged', 'scores[k * 8 + i * 2]', 'scores[k * 8 + (i ^ 1) * 2]'),
    bug('the strips of the values lie elsewhere', 'kKeys * 128>(', 'kKeys * 64>('),
    bug('a named barrier counts too few', 'wait(1 + group, 2 * 128)', 'wait(1 + group, 128)'),
    bug('nobody has the first turn', '  if (group == kWarpgroups - 1) pass_turn();\n', ''),
    bug('a turn is left over', '  if (group == 0) take_turn();', '  if (group < 0) take_turn();'),
    bug(
      'queries are overwritten too early',
      '    key = places.take_next();\n',
      '$&    query_places.hand_back(query);\n',
    ),
    bug('a tile goes on with the softmax of the one before', '      softmax = RunningSoftmax();\n', ''),
    bug('a cache is read beyond its end', 'of.key + kKeys > end', 'false'),
    bug('a box has too many rows', '{rows, heads * kWidth, box}', '{rows, heads * kWidth, box + 8}'),
  ];
}

/** Those of its backward, where what passes by comes in two rings, and rows bring numbers along. */
function hopperAttentionBackwardBugs(): Bug[] {
  const bug = (name: string, from: string, to: string, test = 'T 330'): Bug => ({
    name: `Hopper's attention backward: ${name}`,
    changes: [{ file: 'cuda/attention_backward_hopper.cuh', from, to }],
    test: `hopper attention backward, ${test}`,
    arch: '90',
    flavours: ['plain'],
    compiled: 'attention_backward_hopper_test',
  });
  return [
    bug('keys are handed back while dq grows', '      weigh_step(weights, step', '      keys.hand_back(key);\n$&'),
    bug('dS is rounded before dP is there', '      wgmma_wait<1>();\n      settle(dp);', '      wgmma_wait<2>();'),
    bug('rows behind the last one bring nothing', 'if (row >= rows || thread', 'if (!exists || thread'),
    bug('lse is not announced', ' + sizeof from.lse,', ','),
    bug('delta is not of the box', 'delta[t % kBoxRows] = exists', 'delta[(t + 1) % kBoxRows] = exists'),
    bug(
      'queries are overwritten too early',
      '    own.take_next();\n    int key',
      '    own.hand_back(own.take_next());\n    int key',
    ),
    bug('a step that no row of a warpgroup sees is not left out', 'leave_out((mine.first', 'leave_out((boxes.first'),
    bug('a part of a group is left out', 'part = 0; part < parts', 'part = 1; part < parts'),
    bug('rows that see keys by their window are left out', 'count - 1 + a.window', 'count - 2', 'T 300'),
  ];
}

function replaceOnce(file: string, from: string, to: string): void {
  const text = readFileSync(file, 'utf8');
  if (text.split(from).length !== 2)
    throw new Error(`'${from.trim()}' stands not once in ${file}: the bug no longer fits`);
  writeFileSync(file, text.replace(from, to));
}

const isFlavour = (word: string) => flavours.includes(word as Flavour);
const chosen = process.argv.slice(2).filter(isFlavour);
const words = process.argv.slice(2).filter((word) => !isFlavour(word));
const only = [
  'main',
  'context',
  'tensor_map',
  'gemm',
  'gemm_test',
  'attention_hopper_test',
  'attention_backward_hopper_test',
];
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
  if (words.length > 0 && !words.some((word) => bug.name.includes(word))) continue;
  const tree = join(work, `bug-${index}`);
  for (const folder of ['cuda', 'native', 'test/cuda'])
    cpSync(join(root, folder), join(tree, folder), { recursive: true });
  for (const { file, from, to } of bug.changes) replaceOnce(join(tree, file), from, to);
  const found: string[] = [];
  for (const flavour of ready) {
    if (bug.flavours && !bug.flavours.includes(flavour)) continue;
    const binary = await build(flavour, join(tree, flavour), {
      tree,
      only,
      changed: [bug.compiled ?? 'gemm'],
      base: soundFolder(flavour),
    });
    const { failed, tookTooLong, output } = await execute(
      binary,
      bug.test,
      bug.arch ? { BTS_EMULATED_ARCH: bug.arch } : {},
    );
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
    [/FAIL (.*) at \S+\.cuh/, ''],
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
