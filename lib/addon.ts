import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BtsError, type ErrorCode } from './errors.js';

/**
 * Element types of tensors. Trainable weights are f32, frozen weights keep what their file has, activations are f32, or bf16
 * on devices that compute faster so.
 */
export type DType = 'f32' | 'f16' | 'bf16' | 'i32';

/** A dense view of device memory. */
export interface NativeTensor {
  readonly shape: readonly number[];
  /** Another tensor over the same memory: `shape` from element `offset` on. */
  view(shape: readonly number[], offset: number): NativeTensor;
  /** Gives the memory back once no other view needs it. Twice is harmless. */
  dispose(): void;
}

export interface MemoryStatistics {
  /** Bytes in tensors now. */
  liveBytes: number;
  /** Most bytes that were in tensors at once. */
  peakBytes: number;
  /** Bytes held from the system, cached ones included. */
  reservedBytes: number;
}

/** How often an op ran and how long it took in all. */
export interface OpTiming {
  calls: number;
  milliseconds: number;
}

type T = NativeTensor;
type Maybe<X> = X | undefined;
interface StitchArguments {
  h: T;
  gateWeight: T;
  proj: T[];
  gates: T;
  projected: T;
  dropout: number;
  seed: number;
}
interface StitchGradients extends StitchArguments {
  dh: Maybe<T>;
  dgateWeight: T;
  dgateBias: Maybe<T>;
  dproj: T[];
}

interface AttentionArguments {
  q: T;
  k: T;
  v: T;
  /** Keys a query sees at most; 0: all before it. */
  window: number;
  scale: number;
  /** 0: none */
  softcap: number;
}

/** What gates a feed-forward layer; native/activation.h has the formulas. */
export type Activation = 'silu' | 'gelu' | 'geluTanh';

/** The arguments of every op; native/ops.h has the formulas and shapes. */
export interface OpArguments {
  embedding_forward: { y: T; table: T[]; ids: T; scale: number };
  embedding_backward: { dtable: T[]; dy: T; ids: T; scale: number };
  linear_forward: { y: T; x: T; weight: T[]; bias: Maybe<T[]>; residual: Maybe<T> };
  linear_backward_input: { dx: T; dy: T; weight: T[]; accumulate: boolean };
  linear_backward_weight: { dweight: T[]; dbias: Maybe<T[]>; dy: T; x: T };
  rms_norm_forward: { y: T; x: T; weight: T[]; residual: Maybe<T>; epsilon: number; offset: number };
  rms_norm_backward_input: { dx: T; dy: T; x: T; weight: T[]; epsilon: number; offset: number; accumulate: boolean };
  rms_norm_backward_weight: { dweight: T[]; dy: T; x: T; epsilon: number };
  rope: { y: T; x: T; table: T[]; starts: Maybe<T>; inverse: boolean };
  attention_forward: AttentionArguments & { out: T; lse: Maybe<T>; starts: Maybe<T> };
  attention_backward: AttentionArguments & { dq: T; dk: T; dv: T; dout: T; out: T; lse: T };
  cache_append: { cache: T; x: T; starts: T };
  swiglu_forward: { y: T; gate: T; up: T; activation: Activation };
  swiglu_backward: { dgate: T; dup: T; dy: T; gate: T; up: T; activation: Activation };
  swiglu_linear: {
    y: T;
    x: T;
    gate: T[];
    up: T[];
    gateBias: Maybe<T[]>;
    upBias: Maybe<T[]>;
    activation: Activation;
  };
  cross_entropy_forward: { losses: T; logits: T; targets: T };
  cross_entropy_backward: { dlogits: T; dlosses: T; logits: T; targets: T; softcap: number };
  /** `draws` has six numbers a row: temperature, top-k, top-p, min-p, repetition penalty, the random number. */
  sample: { ids: T; logits: T; seen: Maybe<T>; draws: Float64Array };
  experts_into_hub_forward: StitchArguments & { hub: T; gateBias: Maybe<T> };
  experts_into_hub_backward: StitchGradients & { dhub: T; dprojected: Maybe<T> };
  hub_into_experts_forward: StitchArguments & { out: T; gateBias: Maybe<T> };
  hub_into_experts_backward: StitchGradients & { dout: T };
  mix_forward: { y: T; gates: T; x: T; logits: T; residual: Maybe<T>; keep: number; temperature: number };
  mix_backward: { dx: T; dlogits: T; dy: T; x: T; logits: T; keep: number; temperature: number };
  fill: { y: T; value: number };
  fill_normal: { y: T; deviation: number; seed: number };
  add: { y: T; a: T; b: T };
  softcap: { y: T; x: T; cap: number };
  dropout: { y: T; x: T; rate: number; seed: number };
  convert: { y: T; x: T };
  gather_rows: { y: T; x: T; rows: T };
  sum_forward: { y: T; x: T; scale: number };
  sum_backward: { dx: T; dy: T; scale: number };
  global_norm: { norm: T; gradients: T[] };
  adamw: {
    parameters: T[];
    gradients: T[];
    firstMoments: T[];
    secondMoments: T[];
    norm: T;
    learningRate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    clipNorm: number;
    step: number;
  };
  measure_peaks: { peaks: T };
}

/** Ops that were recorded while they were queued. */
export interface NativeProgram {
  /** Queues all of them. */
  run(): void;
  /** Gives back what only the program needs. Twice is harmless. */
  dispose(): void;
}

/** A device: memory and a queue of ops that a native thread runs in order. */
export interface NativeDevice {
  /** Uninitialised memory; of what the host fills while a program is recorded, `constant`. */
  allocate(dtype: DType, shape: readonly number[], constant?: boolean): NativeTensor;
  /** Copies the bytes of `data` before it returns. */
  upload(tensor: NativeTensor, data: NodeJS.TypedArray): void;
  /** Reads the tensor's bytes from a file. */
  load(tensor: NativeTensor, path: string, offset: number): void;
  run<Op extends keyof OpArguments>(op: Op, args: OpArguments[Op]): void;
  /** From here on ops are recorded too. What is uploaded or loaded meanwhile is so once only. */
  beginRecording(): void;
  endRecording(): NativeProgram;
  /** The bytes of a tensor, or nothing, once all work queued before is done. */
  read(tensor: NativeTensor): Promise<ArrayBuffer>;
  read(): Promise<void>;
  memory(resetPeak: boolean): MemoryStatistics;
  /** Time spent by op since it was last asked. */
  profile(): Record<string, OpTiming>;
  /** Waits for the queue and returns cached memory to the system. */
  trim(): void;
  /** Ends after the op at work; reads that were not served reject. Twice is harmless. */
  dispose(): void;
}

/** One of the forms that a backend's device comes in: an instruction set, or a GPU. */
export interface Variant {
  name: string;
  supported: boolean;
  /** What it is, or why it cannot be used; may be empty. */
  detail: string;
}

interface Addon {
  Device: new (threads: number, variant: string, precision?: DType) => NativeDevice;
  /** Instruction sets from the narrowest on, GPUs by number. Throws NO_DEVICE where nothing can be said. */
  variants(): Variant[];
}

/** The backends, each a binary of its own; the emulated one runs CUDA's kernels on the CPU, for tests. */
export type Backend = 'cpu' | 'cuda' | 'cuda-emulated';

const root = resolve(fileURLToPath(new URL('..', import.meta.url)));

/** Where the binaries lie that an installation does not build by itself, and what builds them. */
const ON_DEMAND = {
  cuda: {
    path: 'build/cuda/branch_train_stitch_cuda.node',
    build: "'npm run build:cuda' (needs CMake and CUDA's nvcc)",
  },
  'cuda-emulated': {
    path: 'build/emulated/branch_train_stitch_cuda_emulated.node',
    build: "'npm run build:emulated'",
  },
};

const loaded = new Map<Backend, Addon>();

/** A backend's binary, loaded at first use. Throws ADDON_NOT_LOADED with what to do. */
export function loadAddon(backend: Backend = 'cpu'): Addon {
  const known = loaded.get(backend);
  if (known) return known;
  const addon = backend === 'cpu' ? loadCpu() : loadOnDemand(backend);
  loaded.set(backend, addon);
  return addon;
}

function loadCpu(): Addon {
  try {
    return createRequire(import.meta.url)('node-gyp-build')(root) as Addon;
  } catch (cause) {
    throw new BtsError(
      'ADDON_NOT_LOADED',
      `the compiled addon could not be loaded for ${process.platform}-${process.arch} from ${root}: ` +
        `${(cause as Error).message.trim()} Build it there with 'npm run build:native' (needs CMake and a C++20 compiler).`,
      { cause },
    );
  }
}

function loadOnDemand(backend: keyof typeof ON_DEMAND): Addon {
  const { path: relative, build } = ON_DEMAND[backend];
  const path = join(root, relative);
  if (!existsSync(path))
    throw new BtsError('ADDON_NOT_LOADED', `its binary is not there: build it with ${build} in ${root}.`);
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new BtsError('ADDON_NOT_LOADED', `its binary cannot be loaded: ${(cause as Error).message.trim()}`, {
      cause,
    });
  }
}

/** Gives errors of the addon, which carry a code, the package's own type. */
export function typed(error: unknown): unknown {
  if (error instanceof BtsError || !(error instanceof Error)) return error;
  const { code } = error as { code?: string };
  return code && /^[A-Z_]+$/.test(code) && !code.startsWith('ERR_')
    ? new BtsError(code as ErrorCode, error.message, { cause: error })
    : error;
}
