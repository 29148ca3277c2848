import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import { BtsError, type ErrorCode, fileError } from '../base/errors.js';
import { type Backend, findBinary, tryInProcess, whatToDo } from './binary.js';

/**
 * Element types of tensors. Trainable weights are f32, frozen weights keep what their file has or are quantized when they are
 * loaded, activations are f32, or bf16 on devices that compute faster so.
 */
export type DType = FloatType | QuantizedType | 'i32';

/** Floats, as files have them. */
export type FloatType = 'f32' | 'f16' | 'bf16';

/** Of frozen matrices, whose rows are cut into groups with scales of their own: native/quantized.h. */
export type QuantizedType = 'int8' | 'int4';

const GROUPS: Record<QuantizedType, { numbers: number; bytes: number }> = {
  int8: { numbers: 128, bytes: 132 },
  int4: { numbers: 32, bytes: 24 },
};

export const isQuantized = (dtype: DType): dtype is QuantizedType => dtype in GROUPS;

/** Bytes of an array, whose innermost size is the last one. */
export function bytesOf(dtype: DType, shape: readonly number[]): number {
  const product = (sizes: readonly number[]) => sizes.reduce((product, size) => product * size, 1);
  if (!isQuantized(dtype)) return product(shape) * (dtype === 'f32' || dtype === 'i32' ? 4 : 2);
  const { numbers, bytes } = GROUPS[dtype];
  return product(shape.slice(0, -1)) * Math.ceil(shape.at(-1)! / numbers) * bytes;
}

/** A dense view of device memory. */
export interface NativeTensor {
  readonly shape: readonly number[];
  /** Another tensor over the same memory: `shape` from element `offset` on. */
  view(shape: readonly number[], offset: number): NativeTensor;
  /** Gives the memory back once no other view needs it. Twice is harmless. */
  dispose(): void;
}

/** Memory of a device, in bytes. */
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
  /** How often it ran. */
  calls: number;
  /** Of all calls together. */
  milliseconds: number;
}

/** Ops that were recorded while they were queued. */
export interface NativeProgram {
  /** Queues all of them. */
  run(): void;
  /** Gives back what only the program needs. Twice is harmless. */
  dispose(): void;
}

/** This process as one of several that compute together. */
export interface NativeCommunicator {
  /** Undefined as long as the engine is being started. */
  place(): { rank: number; size: number } | undefined;
  allReduce(tensors: readonly NativeTensor[]): void;
  broadcast(tensors: readonly NativeTensor[], root: number): void;
  send(tensors: readonly NativeTensor[], to: number): void;
  receive(tensors: readonly NativeTensor[], from: number): void;
  /** One at a time. */
  startGather(bytes: Uint8Array): void;
  /** Every rank's bytes as text; undefined until they have come. */
  gathered(): string[] | undefined;
  /** The ranks that give the same number, as a group; of MPI alone. All ranks call it, and are there: it waits. */
  split(number: number): NativeCommunicator;
  /** The call at work fails, and all that follow. */
  cancel(): void;
  dispose(): void;
}

/** A device: memory and a queue of ops that a native thread runs in order. */
export interface NativeDevice {
  /** Uninitialised memory; of what the host fills while a program is recorded, `constant`. */
  allocate(dtype: DType, shape: readonly number[], constant?: boolean): NativeTensor;
  /** Copies the bytes of `data` before it returns. */
  upload(tensor: NativeTensor, data: NodeJS.TypedArray): void;
  /** Reads the tensor's bytes from a file, which has this stamp (base/file.ts) before and after. */
  load(tensor: NativeTensor, path: string, offset: number, stamp?: string): void;
  /** Queues an op of native/ops/list.h. */
  run(op: string, args: object): void;
  /** From here on ops are recorded too. What is uploaded or loaded meanwhile is so once only. */
  beginRecording(): void;
  endRecording(): NativeProgram;
  /** The buffer with the bytes of a tensor, or nothing, once all work queued before is done. */
  read(tensor: NativeTensor, buffer: ArrayBuffer): Promise<ArrayBuffer>;
  read(): Promise<void>;
  memory(resetPeak: boolean): MemoryStatistics;
  /** Bytes that a device with memory of its own has, and of these what nobody holds. */
  capacity(): { totalBytes: number; freeBytes: number };
  /** From so many rows on, a product sums each row in one way, however many there are; also where rows are computed alone. */
  leastRows(alone: boolean): number;
  /** Time spent by op since it was last asked. */
  profile(): Record<string, OpTiming>;
  /** Waits for the queue and returns cached memory to the system. */
  trim(): void;
  /** By the MPI engine at that path; other ranks are given up after so many seconds. */
  openMpi(path: string, seconds: number): NativeCommunicator;
  /** By libnccl.so.2, with the id that all ranks have, and memory that stays for an announcement of each rank. */
  openNccl(
    id: Uint8Array,
    rank: number,
    /** What the ranks are called among `of`. */
    names: readonly number[],
    of: number,
    board: NativeTensor,
    seconds: number,
  ): NativeCommunicator;
  /** Ends after the op at work; reads that were not served reject. Twice is harmless. */
  dispose(): void;
}

/** One of the forms that a backend's device comes in: an instruction set, or a GPU. */
export interface Variant {
  /** An instruction set as `DeviceOptions.instructionSet` takes it, or a GPU. */
  name: string;
  /** Whether it can be used here. */
  supported: boolean;
  /** What it is, or why it cannot be used; may be empty. */
  detail: string;
}

interface Addon {
  Device: new (threads: number, variant: string, precision?: DType) => NativeDevice;
  /** Instruction sets from the narrowest on, GPUs by number. Throws NO_DEVICE where nothing can be said. */
  variants(): Variant[];
  /** The names of all ops. */
  ops(): string[];
  /** The version of libnccl.so.2. Throws ADDON_NOT_LOADED. */
  nccl(): string;
  /** What all ranks of a new communicator are given, made by one of them. */
  ncclId(): Uint8Array;
  /** Which MPI the engine at that path was built with. Throws ADDON_NOT_LOADED. */
  mpi(path: string): string;
  /** Waits until all ranks do the same; MPI is of no use afterwards. */
  finalizeMpi(path: string): void;
}

const loaded = new Map<Backend, Addon>();

/** A backend's binary, loaded at first use. Throws ADDON_NOT_LOADED with what to do. */
export function loadAddon(backend: Backend = 'cpu'): Addon {
  const known = loaded.get(backend);
  if (known) return known;
  const { path } = findBinary(backend);
  if (backend === 'cuda') tryInProcess(path);
  try {
    const addon = createRequire(import.meta.url)(path) as Addon;
    loaded.set(backend, addon);
    return addon;
  } catch (cause) {
    const why = (cause as Error).message.trim().replace(/\.$/, '');
    throw new BtsError(
      'ADDON_NOT_LOADED',
      `the ${backend} backend's binary cannot be loaded: ${why}. ${whatToDo(backend)}`,
      { cause },
    );
  }
}

/** Gives errors of the addon, which carry a code, the package's own type; and those of memory that ran out around it. */
export function typed(error: unknown): unknown {
  if (error instanceof BtsError || !(error instanceof Error)) return error;
  const { code } = error as { code?: string };
  if (code === 'ERRNO') {
    const [, errno, path] = /(\d+) (.*)$/s.exec(error.message)!;
    return fileError({ code: getSystemErrorName(-Number(errno)), errno: -Number(errno) }, path!, 'reading');
  }
  if (/^(?:std::bad_alloc|Array buffer allocation failed)$/.test(error.message))
    return new BtsError('OUT_OF_MEMORY', "the host's memory is used up: take a smaller batch, or end other programs.", {
      cause: error,
    });
  return code && /^[A-Z_]+$/.test(code) && !code.startsWith('ERR_')
    ? new BtsError(code as ErrorCode, error.message, { cause: error })
    : error;
}
