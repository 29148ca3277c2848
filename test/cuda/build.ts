/**
 * Builds the kernel tests in four ways. Each is a binary of its own, outside Node, so that sanitizers can see everything.
 *
 * - `plain`: the kernels as host code, on the emulation's fibers.
 * - `address`: the same with AddressSanitizer and UndefinedBehaviorSanitizer.
 * - `thread`: the same with ThreadSanitizer, for which every CUDA thread is a thread and only barriers order them.
 * - `device`: what clang's PTX says, translated to C++: it runs the inline assembly, which the others replace, and looks
 *   for races and for accesses out of bounds itself.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { availableProcessors } from '../../lib/base/processors.js';
import { ptxToCpp } from './device-code/ptx-to-cpp.js';

const run = promisify(execFile);

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const flavours = ['plain', 'address', 'thread', 'device'] as const;
export type Flavour = (typeof flavours)[number];

const clang = 'clang++-19';
const precisions = { f32: [], bf16: ['-DBTS_BF16'] } as const;
type Precision = keyof typeof precisions;
/** The slow builds have the kernels that matter, those of the tensor cores; the numbers of both are looked at by `plain`. */
const precisionsOf = (flavour: Flavour): Precision[] => (flavour === 'plain' ? ['f32', 'bf16'] : ['bf16']);

const warnings = ['-Wall', '-Wextra', '-Wno-unknown-pragmas', '-Wno-psabi'];
const flags: Record<Flavour, string[]> = {
  plain: ['-O2', ...warnings],
  address: ['-O1', '-g1', '-Wno-psabi', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'],
  thread: ['-O1', '-g1', '-Wno-psabi', '-fsanitize=thread', '-fno-builtin'],
  device: ['-O0', '-w'], // the translations are long; the time of a run goes into the emulation
};

/**
 * Files whose kernels run as translated PTX, all that multiply tiles. The others, which rows_test.cu is about, call
 * functions that only NVIDIA's device library has.
 */
const translated = [
  'attention',
  'attention_backward',
  'column_sums',
  'experts_into_hub',
  'experts_into_hub_backward',
  'gemm',
  'gemv',
  'hub_into_experts',
  'hub_into_experts_backward',
  'operands',
];

/** Whether this machine can build a flavour; the reason where it cannot. */
export async function missing(flavour: Flavour): Promise<string | undefined> {
  const compiler = flavour === 'device' ? clang : 'g++';
  try {
    await run(compiler, ['--version']);
    return undefined;
  } catch {
    return `${compiler} is not installed`;
  }
}

/** One object file: what makes it, in order. */
interface Unit {
  source: string;
  object: string;
  steps: (string[] | (() => void))[];
}

/**
 * Builds a flavour below `folder` and returns its binary. `tree` is the checkout whose sources are compiled, all of them or
 * `only` some; where `changed` names files, their objects alone are made, below `folder`, and the rest comes from `base`.
 */
export async function build(
  flavour: Flavour,
  folder: string,
  { tree = root, only, changed, base }: { tree?: string; only?: string[]; changed?: string[]; base?: string } = {},
): Promise<string> {
  mkdirSync(folder, { recursive: true });
  if (flavour === 'device')
    writeFileSync(join(folder, 'empty.fatbin'), 'clang registers kernels only where there is one');
  const units = unitsOf(flavour, folder, tree).filter(
    ({ source }) => !only || !source.endsWith('.cu') || only.includes(basename(source, '.cu')),
  );
  const mine = units.filter((unit) => !changed || changed.includes(basename(unit.source, '.cu')));
  const stale = mine.filter(
    ({ source, object }) => !existsSync(object) || statSync(object).mtimeMs < newest(source, tree),
  );
  await inParallel(stale, async (unit) => {
    for (const step of unit.steps) await (typeof step === 'function' ? step() : compile(step));
  });
  const objects = units.map(({ object }) =>
    mine.some((unit) => unit.object === object) || !base ? object : join(base, basename(object)),
  );
  const binary = join(folder, only ? 'some-kernel-tests' : 'kernel-tests');
  await compile(['g++', ...flags[flavour], ...objects, '-o', binary]);
  return binary;
}

/** The files of the ops and of the products below them, as CMake finds them, in the folder `cuda`. */
export function opSources(tree = root): string[] {
  return ['', 'gemm'].flatMap((folder) =>
    readdirSync(join(tree, 'cuda', folder))
      .filter((name) => name.endsWith('.cu'))
      .map((name) => join(folder, name)),
  );
}

function unitsOf(flavour: Flavour, folder: string, tree: string): Unit[] {
  const ops = opSources(tree);
  const tests = readdirSync(join(tree, 'test/cuda/kernels')).filter(
    (name) => name.endsWith('_test.cu') && (flavour !== 'device' || name !== 'rows_test.cu'),
  );
  const twice = [
    ...ops.map((name) => join(tree, 'cuda', name)),
    ...tests.map((name) => join(tree, 'test/cuda/kernels', name)),
  ];
  const once = ['cuda/runtime/context.cu', 'cuda/runtime/tensor_map.cu', 'test/cuda/kernels/main.cu'].map((name) =>
    join(tree, name),
  );
  const units: Unit[] = [];
  for (const source of twice)
    for (const precision of precisionsOf(flavour)) units.push(...unit(flavour, folder, tree, source, precision));
  for (const source of once) units.push(...unit(flavour, folder, tree, source));
  // The runtime is the referee, not a player: ThreadSanitizer must not watch it.
  const referee = flavour === 'thread' ? ['-O1', '-g', '-fno-builtin', '-DEMU_TSAN=1'] : flags[flavour];
  for (const name of ['cuda_emu', 'hopper'])
    units.push(host(join(tree, `cuda/emulation/${name}.cc`), join(folder, `${name}.o`), referee, tree));
  if (flavour === 'device')
    units.push(
      host(join(tree, 'test/cuda/device-code/ptx_runtime.cc'), join(folder, 'ptx_runtime.o'), ['-O2', '-w'], tree),
    );
  return units;
}

function host(source: string, object: string, options: readonly string[], tree: string): Unit {
  const include = [`-I${join(tree, 'cuda')}`, `-I${join(tree, 'test/cuda/kernels')}`];
  return {
    source,
    object,
    steps: [['g++', '-std=c++20', ...options, ...include, '-x', 'c++', '-c', source, '-o', object]],
  };
}

/** The objects of one CUDA file: one, or for the device flavour one of its host code and one of its kernels. */
function unit(flavour: Flavour, folder: string, tree: string, source: string, precision?: Precision): Unit[] {
  const name = basename(source, '.cu');
  const object = join(folder, `${name}${precision ? `.${precision}` : ''}.o`);
  const define = precision ? precisions[precision] : [];
  if (flavour !== 'device') return [host(source, object, [...flags[flavour], ...define], tree)];
  const cuda = [
    clang,
    '-x',
    'cuda',
    '-nocudainc',
    '-nocudalib',
    '--cuda-gpu-arch=sm_80',
    '-std=c++20',
    '-w',
    '-Wno-unknown-cuda-version',
    '-D__CUDACC__',
    '-Xclang',
    '-target-sdk-version=12.3',
    `-I${join(tree, 'test/cuda/device-code')}`,
    '-include',
    'cuda_runtime.h',
    `-I${join(tree, 'cuda')}`,
    `-I${join(tree, 'test/cuda/kernels')}`,
    ...define,
  ];
  const units: Unit[] = [
    {
      source,
      object,
      steps: [
        [
          ...cuda,
          '-O1',
          '--cuda-host-only',
          '-Xclang',
          '-fcuda-include-gpubinary',
          '-Xclang',
          join(folder, 'empty.fatbin'),
          '-c',
          source,
          '-o',
          object,
        ],
      ],
    },
  ];
  if (!translated.includes(name)) return units;
  const ptx = object.replace(/o$/, 'ptx'),
    cpp = `${ptx}.cc`;
  units.push({
    source,
    object: object.replace(/o$/, 'ptx.o'),
    steps: [
      // Calls are not translated: everything is inlined.
      [...cuda, '-O2', '-mllvm', '-inline-threshold=100000', '--cuda-device-only', '-S', source, '-o', ptx],
      () => writeFileSync(cpp, ptxToCpp(readFileSync(ptx, 'utf8'))),
      [
        'g++',
        '-std=c++20',
        ...flags.device,
        `-I${join(tree, 'test/cuda/device-code')}`,
        '-c',
        cpp,
        '-o',
        object.replace(/o$/, 'ptx.o'),
      ],
    ],
  });
  return units;
}

/** When a file, or one that it includes, or what translates it was changed last. */
function newest(source: string, tree: string): number {
  const translator = join(tree, 'test/cuda/device-code');
  const files = [...withIncludes(source, tree), ...readdirSync(translator).map((name) => join(translator, name))];
  return Math.max(...files.map((file) => statSync(file).mtimeMs));
}

/** A file and all of this project that it includes, directly or not. */
export function withIncludes(source: string, tree = root): string[] {
  const files = [source];
  for (const file of files) {
    const folders = [dirname(file), join(tree, 'cuda'), join(tree, 'test/cuda/kernels')];
    for (const [, name] of readFileSync(file, 'utf8').matchAll(/^#include "(.*)"/gm)) {
      const included = folders.map((folder) => join(folder, name!)).find((path) => existsSync(path));
      if (included && !files.includes(included)) files.push(included);
    }
  }
  return files;
}

async function compile([command, ...args]: string[]): Promise<void> {
  try {
    const { stderr } = await run(command!, args, { maxBuffer: 1 << 26 });
    if (stderr) process.stderr.write(stderr);
  } catch (error) {
    throw new Error(`${command} failed:\n${String((error as { stderr?: string }).stderr ?? error).slice(0, 4000)}`);
  }
}

async function inParallel<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: availableProcessors() }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}

/** The longest that one binary may run: an emulated block that never ends must not stop the checks. */
const timeLimitMs = 10 * 60_000;

/** Runs a binary; `failed` with what it printed last where it found something, or `tookTooLong`. */
export async function execute(
  binary: string,
  filter: string,
  environment: Record<string, string> = {},
): Promise<{ failed: boolean; tookTooLong: boolean; output: string }> {
  const env = { ...process.env, RACECHECK: '1', TSAN_OPTIONS: 'halt_on_error=1', ...environment };
  try {
    const { stdout } = await run(binary, [filter], {
      env,
      maxBuffer: 1 << 26,
      timeout: timeLimitMs,
      killSignal: 'SIGKILL',
    });
    return { failed: false, tookTooLong: false, output: stdout };
  } catch (error) {
    const { stdout = '', stderr = '', killed } = error as { stdout?: string; stderr?: string; killed?: boolean };
    const tookTooLong = killed === true;
    const note = tookTooLong ? `\nended after ${timeLimitMs / 60_000} minutes` : '';
    return { failed: true, tookTooLong, output: `${stdout}${stderr}${note}` };
  }
}
