import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BtsError } from '../base/errors.js';

/** The backends, each a binary of its own; the emulated one runs CUDA's kernels on the CPU, for tests. */
export type Backend = 'cpu' | 'cuda' | 'cuda-emulated';

/** What is published with a binary in it, as @branch-train-stitch/NAME: npm installs what suits the machine. */
export const PUBLISHED = ['linux-arm64', 'linux-x64', 'linux-x64-cuda'] as const;

const require = createRequire(import.meta.url);
const root = resolve(fileURLToPath(new URL('../..', import.meta.url)));

/** Where binaries lie below build/ that were compiled here, and how they are. */
const BUILDS: Record<Backend, { file: string; script: string; needs: string }> = {
  cpu: { file: 'Release/branch_train_stitch.node', script: 'build:native', needs: 'CMake and a compiler of C++20' },
  cuda: { file: 'cuda/branch_train_stitch_cuda.node', script: 'build:cuda', needs: "CMake and CUDA's nvcc" },
  'cuda-emulated': {
    file: 'emulated/branch_train_stitch_cuda_emulated.node',
    script: 'build:emulated',
    needs: 'CMake and a compiler of C++20',
  },
};

export interface Binary {
  path: string;
  /** For people: 'built here', or the package that it is from. */
  origin: string;
}

/** The binary of a backend: what was built here, else that of the platform's package. Throws ADDON_NOT_LOADED with what to do. */
export function findBinary(backend: Backend): Binary {
  const path = join(root, 'build', BUILDS[backend].file);
  if (existsSync(path)) return { path, origin: 'built here' };
  const name = packageOf(backend);
  try {
    if (name) return { path: require.resolve(name), origin: name };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
  }
  const looked = name ? `neither is the package ${name} installed, nor is there ${path}` : `there is no ${path}`;
  throw new BtsError(
    'ADDON_NOT_LOADED',
    `the ${backend} backend's binary is not there: ${looked}. ${whatToDo(backend)}`,
  );
}

/** Where the MPI engine lies that was built here. Throws ADDON_NOT_LOADED with what to do. */
export function findMpi(): string {
  const path = join(root, 'build/mpi/branch_train_stitch_mpi.so');
  if (existsSync(path)) return path;
  throw new BtsError(
    'ADDON_NOT_LOADED',
    `the MPI engine is not there: there is no ${path}. It is built by 'npm run build:mpi' in ${root} (needs CMake, a compiler of C++20 and an MPI; on Debian and Ubuntu: apt-get install -y libopenmpi-dev openmpi-bin).`,
  );
}

/** The package with a backend's binary for this platform, where there is one. */
function packageOf(backend: Backend): string | undefined {
  const name = `${process.platform}-${process.arch}${backend === 'cpu' ? '' : `-${backend}`}`;
  return (PUBLISHED as readonly string[]).includes(name) ? `@branch-train-stitch/${name}` : undefined;
}

/** A sentence: how to get a binary that works here. */
export function whatToDo(backend: Backend): string {
  const name = packageOf(backend);
  const { script, needs } = BUILDS[backend];
  const build = `'npm run ${script}' in ${root} (needs ${needs})`;
  if (!name) {
    const platform = `${process.platform}-${process.arch}`;
    return `${backend === 'cuda-emulated' ? 'It' : `There is none to install for ${platform}: it`} is built by ${build}.`;
  }
  if (glibcVersion() === null)
    return `Those to install need glibc, and this system's C library is another (musl?): build one by ${build}.`;
  const { version } = require(join(root, 'package.json'));
  return `Install it with 'npm install ${name}@${version}' (--omit=optional leaves it out, and so does a lock file of another platform), or build it by ${build}.`;
}

/** Null where the C library is another one. */
export function glibcVersion(): string | null {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime ?? null;
}

/** Longer than drivers take for many GPUs. */
const TRIAL_MS = 60_000;

/** Why a binary cannot be used that was tried; undefined where it can. */
const tried = new Map<string, BtsError | undefined>();

/**
 * Loads a binary and asks for its devices in a process of its own, once, so that a driver which crashes or hangs does not take
 * this one along. What it throws is not told: it throws that here, too. Throws ADDON_NOT_LOADED.
 */
export function tryInProcess(path: string): void {
  if (!tried.has(path)) tried.set(path, whyNot(path));
  const error = tried.get(path);
  if (error) throw error;
}

function whyNot(path: string): BtsError | undefined {
  const script = 'try { require(process.argv[1]).variants(); } catch {}';
  const { status, signal, error } = spawnSync(process.execPath, ['-e', script, path], {
    stdio: 'ignore',
    timeout: TRIAL_MS,
  });
  if (status === 0) return undefined;
  const how = error ? error.message : signal ? `ended by ${signal}` : `ended with status ${status}`;
  return new BtsError(
    'ADDON_NOT_LOADED',
    `a process that tried the cuda backend's binary ${path} first ${how}: the GPU's driver may be broken, which 'nvidia-smi' should tell.`,
  );
}
