import { z } from 'zod';
import { BtsError } from '../base/errors.js';
import { expectMemory, machineMemory } from '../base/memory.js';
import { checkOptions, expectOptions } from '../base/options-check.js';
import { availableProcessors, checkThreads } from '../base/processors.js';
import { choice, count, text } from '../base/schema.js';
import {
  bytesOf,
  type DType,
  isQuantized,
  loadAddon,
  type MemoryStatistics,
  type NativeCommunicator,
  type NativeDevice,
  type NativeTensor,
  type OpTiming,
  typed,
  type Variant,
} from './addon.js';
import type { OpArguments } from './native-ops.js';
import { Program } from './program.js';
import { Tensor } from './tensor.js';

type CudaBackend = 'cuda' | 'cuda-emulated';

/** The GPUs that CUDA sees, usable or not. Throws ADDON_NOT_LOADED, NO_DEVICE where it cannot be asked, and why. */
export function findGpus(): Variant[] {
  try {
    return loadAddon('cuda').variants();
  } catch (error) {
    throw typed(error);
  }
}

/** Why 'auto' cannot take a GPU here; undefined if it can. */
function whyNotCuda(): string | undefined {
  try {
    const gpus = findGpus();
    if (gpus.some(({ supported }) => supported)) return undefined;
    return gpus.map(({ name, detail }) => `GPU ${name} is a ${detail}`).join('; ');
  } catch (error) {
    if (error instanceof BtsError) return error.message;
    throw error;
  }
}

/** Why the CPU cannot be opened with precision bf16 here; undefined where it can. Throws ADDON_NOT_LOADED. */
export function whyNotBf16(): string | undefined {
  try {
    Device.open('cpu', { precision: 'bf16' }).dispose();
    return undefined;
  } catch (error) {
    if (error instanceof BtsError && error.code === 'NO_DEVICE') return error.message;
    throw error;
  }
}

/** What fills a tensor from the host; what is quantized is bytes. */
export type TensorData = Float32Array | Int32Array | Uint16Array | Uint8Array;

const DEVICE_NAME = /^(?:auto|cpu|(cuda|cuda-emulated)(?::(\d+))?)$/;

/** What `Device.open` opens, and what it opens if nothing is said. */
export const deviceName = z
  .string()
  .regex(DEVICE_NAME, "expected 'cpu', 'cuda', 'cuda:0' (or another number) or 'auto'")
  .default('auto')
  .meta({
    description: "'cpu', 'cuda', 'cuda:0' (or another number), or 'auto' for the best there is",
    argument: 'name',
  });

export const deviceOptions = {
  /**
   * CPU threads that share the work; default: as many as there are processors to use, which a container's CPU quota and
   * affinity restrict. Results do not depend on it.
   */
  threads: count().optional().meta({ description: 'CPU threads (default: all that the process may use)' }),
  /** 'generic', 'avx2' or 'avx512'; default: the widest that the processor has. */
  instructionSet: text().optional(),
  /**
   * What matrix products take, which are summed in f32 all the same. A CUDA device has hidden states in this precision, too;
   * default bf16, which is what tensor cores multiply; f32 is slower and for checks. On the CPU the default is f32, and bf16
   * rounds nothing but the operands of products of more than four rows, for processors that multiply that twice as fast: with
   * AVX512_BF16, or Arm's with bf16 on Linux. Attention on the CPU, and weights that are trained, are f32 always.
   */
  precision: choice(['bf16', 'f32']).optional().meta({
    description:
      'What matrix products take: bf16 (default on a GPU; on a CPU it needs AVX512_BF16, or an Arm one with bf16) or f32 (default there)',
  }),
};
/** How a device computes. */
export type DeviceOptions = z.input<z.ZodObject<typeof deviceOptions>>;

/** Where a tensor's bytes lie. */
export interface StoredAt {
  /** Of the file. */
  path: string;
  /** Bytes before it. */
  offset: number;
  /** Size and time of the file when its header was read, as `readSafetensors` tells them. */
  stamp?: string;
}

/** A device's ceilings. */
export interface Peaks {
  /** Floating-point operations a second, of multiply-adds in the device's precision, summed in f32. */
  flops: number;
  /** Bytes a second that are read from memory which no cache holds. */
  readBytes: number;
}

/**
 * A device: memory and a queue. Ops return at once with tensors whose contents are computed in the background, in
 * order; `read` waits for them. Dispose it when done: that frees all of its memory.
 */
export class Device implements Disposable {
  #disposed = false;

  private constructor(
    /** 'cpu', 'cuda:0' and so on. */
    readonly name: string,
    /** Host threads that share the work. */
    readonly threads: number,
    /** The element type of hidden states and their gradients. */
    readonly activations: 'f32' | 'bf16',
    /** What matrix products take: DeviceOptions.precision. */
    readonly precision: 'f32' | 'bf16',
    /** Why 'auto' did not take a GPU. */
    readonly fallback: string | undefined,
    /** @internal What computes: two devices of a kind give the same bits. */
    readonly kind: string,
    private readonly native: NativeDevice,
  ) {
    this.leastRows = native.leastRows(false);
    this.leastLanes = native.leastRows(true);
  }

  /**
   * From so many rows on, a product sums each row in one way, however many rows there are; fewer may be summed in another.
   * What must not depend on what is computed beside it takes at least that many.
   */
  readonly leastRows: number;

  /** The same in a scope whose rows are computed alone: sequences that a step of decoding has, each of which gets a row. */
  readonly leastLanes: number;

  /**
   * Opens 'cpu', 'cuda' (the first GPU that suits), 'cuda:i' (GPU i), or 'auto': 'cuda' where that works, else 'cpu', with
   * the reason in `fallback`. Throws NO_DEVICE, never taking another than the one asked for; ADDON_NOT_LOADED, BAD_OPTION.
   *
   * @param name 'cpu', 'cuda', 'cuda:i' or 'auto', the default
   * @param options how it computes
   */
  static open(name: string = deviceName.parse(undefined), options: DeviceOptions = {}): Device {
    if (options?.threads !== undefined) checkThreads(options.threads);
    checkOptions('Device.open', deviceOptions, options, {});
    if (name === 'auto') {
      const why = whyNotCuda();
      return why === undefined ? Device.openCuda('cuda', '', options) : Device.openCpu(options, why);
    }
    if (name === 'cpu') return Device.openCpu(options);
    const [, backend, index = ''] = DEVICE_NAME.exec(name) ?? [];
    if (!backend) {
      throw new BtsError(
        'NO_DEVICE',
        `device '${name}' is none of 'cpu', 'cuda', 'cuda:0' (or another number) and 'auto'.`,
      );
    }
    return Device.openCuda(backend as CudaBackend, index, options);
  }

  private static openCpu(options: DeviceOptions, fallback?: string) {
    const { threads = availableProcessors(), instructionSet = '', precision = 'f32' } = options;
    const { Device: Native, variants } = loadAddon();
    try {
      const native = new Native(threads, instructionSet, precision);
      const widest = variants().findLast(({ supported }) => supported);
      const kind = `cpu ${instructionSet || widest?.name} ${precision}`;
      return new Device('cpu', threads, 'f32', precision, fallback, kind, native);
    } catch (error) {
      throw typed(error);
    }
  }

  private static openCuda(backend: CudaBackend, index: string, { precision = 'bf16' }: DeviceOptions) {
    try {
      const { Device: Native, variants } = loadAddon(backend);
      const gpus = variants();
      const gpu = gpus.find(index ? ({ name }) => name === index : ({ supported }) => supported);
      const native = new Native(1, index, precision);
      const name = `${backend}:${index || gpu?.name}`;
      return new Device(name, 1, precision, precision, undefined, `${backend} ${gpu?.detail} ${precision}`, native);
    } catch (cause) {
      const error = typed(cause);
      if (!(error instanceof BtsError) || error.code === 'BAD_OPTION') throw error;
      throw new BtsError('NO_DEVICE', `device '${backend}${index && `:${index}`}' cannot be used: ${error.message}`, {
        cause,
      });
    }
  }

  /**
   * An uninitialised tensor; `constant` if it is filled from the host, which a program that is recorded does not do again.
   * Throws OUT_OF_MEMORY, BAD_SHAPE, DISPOSED.
   *
   * @param shape sizes, the last one innermost
   * @param constant whether the host fills it, once
   */
  empty(shape: readonly number[], dtype: DType = 'f32', constant = false): Tensor {
    return this.call(() => new Tensor(this, this.native.allocate(dtype, shape, constant), dtype, shape));
  }

  /**
   * A tensor filled with one value.
   *
   * @param shape sizes, the last one innermost
   * @param value of all elements
   */
  full(shape: readonly number[], value: number): Tensor {
    return this.filled(this.empty(shape), (y) => this.native.run('fill', { y, value }));
  }

  /**
   * A tensor with the values given: f32 from a Float32Array, i32 from an Int32Array, 16-bit types from a Uint16Array, quantized
   * ones from their bytes.
   *
   * @param data all elements, row-major
   * @param shape sizes, the last one innermost
   */
  tensor(data: TensorData, shape: readonly number[], dtype?: DType): Tensor {
    const type = dtype ?? (data instanceof Int32Array ? 'i32' : 'f32');
    expectElements(data, type);
    return this.filled(this.empty(shape, type, true), (tensor) => this.native.upload(tensor, data));
  }

  /**
   * A tensor whose bytes lie in a file from `offset` on. Trouble with the file is reported by the next read: also that it is not
   * what it was when its header was read, where that gave a `stamp`.
   *
   * @param file where its bytes lie
   * @param shape sizes, the last one innermost
   */
  load(file: StoredAt, shape: readonly number[], dtype: DType): Tensor {
    const { path, offset, stamp } = file;
    return this.filled(this.empty(shape, dtype, true), (tensor) => this.native.load(tensor, path, offset, stamp));
  }

  /** Bytes that there can be for tensors, all together: those of a GPU, or what this process may have of the machine's. */
  get memoryBytes(): number {
    return this.isHost ? machineMemory() : this.call(() => this.native.capacity()).totalBytes;
  }

  /** Bytes that there are now for more tensors, beside what other programs hold. */
  get availableBytes(): number {
    const { reservedBytes, liveBytes } = this.memory();
    const free = this.isHost ? process.availableMemory() : this.call(() => this.native.capacity()).freeBytes;
    return free + reservedBytes - liveBytes;
  }

  /**
   * Throws OUT_OF_MEMORY for work that takes more bytes than there can be.
   *
   * @param bytes what the work takes
   * @param what the work, for the message
   */
  expectRoom(bytes: number, what: string): void {
    expectMemory(bytes, what, this.memoryBytes, this.isHost ? undefined : `'${this.name}' has`);
  }

  private get isHost(): boolean {
    return this.name === 'cpu';
  }

  /** @internal Queues one op. Throws BAD_SHAPE or BAD_OPTION at once; what the data is to blame for is thrown by the next read. */
  run<Op extends keyof OpArguments>(op: Op, args: OpArguments[Op]): void {
    this.call(() => this.native.run(op, withNative(args)));
  }

  /**
   * @internal Calls `work`, which may not wait for anything, and keeps the ops that it queues as a program, which reads and writes the
   * very same tensors whenever it is run. Those of its tensors that are disposed meanwhile are the program's own; those that
   * are uploaded or loaded meanwhile are constants.
   * Throws BAD_OPTION within another recording.
   */
  record<R>(work: () => R): { program: Program; result: R } {
    this.call(() => this.native.beginRecording());
    let result: R;
    try {
      result = work();
    } catch (error) {
      if (!this.#disposed) this.call(() => this.native.endRecording()).dispose();
      throw error;
    }
    return { program: new Program(this.call(() => this.native.endRecording())), result };
  }

  /** @internal */
  upload(tensor: Tensor, data: TensorData): void {
    expectElements(data, tensor.dtype);
    this.call(() => this.native.upload(tensor.native, data));
  }

  /** @internal */
  async bytes(tensor: Tensor): Promise<ArrayBuffer> {
    try {
      return await this.native.read(tensor.native, new ArrayBuffer(tensor.bytes));
    } catch (error) {
      throw typed(error);
    }
  }

  /** Waits for all work queued so far. */
  async synchronize(): Promise<void> {
    try {
      await this.native.read();
    } catch (error) {
      throw typed(error);
    }
  }

  /** Bytes in use now and at peak (since the last reset). */
  memory(options: { resetPeak?: boolean } = {}): MemoryStatistics {
    expectOptions('memory', options, { resetPeak: true });
    return this.call(() => this.native.memory(options.resetPeak ?? false));
  }

  /** Time spent in each op since it was last asked: where a step's time goes. */
  profile(): Record<string, OpTiming> {
    return this.call(() => this.native.profile());
  }

  /** What the device reaches at most, measured now. */
  async measurePeaks(): Promise<Peaks> {
    using peaks = this.empty([2]);
    this.run('measure_peaks', { peaks });
    const [flops = 0, readBytes = 0] = await peaks.read();
    return { flops, readBytes };
  }

  /** @internal */
  openMpi(path: string, seconds: number): NativeCommunicator {
    return this.call(() => this.native.openMpi(path, seconds));
  }

  /** @internal */
  openNccl(
    id: Uint8Array,
    rank: number,
    names: readonly number[],
    of: number,
    board: Tensor,
    seconds: number,
  ): NativeCommunicator {
    return this.call(() => this.native.openNccl(id, rank, names, of, board.native, seconds));
  }

  /** Returns cached memory to the system. */
  trim(): void {
    this.call(() => this.native.trim());
  }

  /** Gives back all of its memory, and that of all that was made on it. Twice is harmless. */
  dispose(): void {
    this.#disposed = true;
    this.native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** The tensor whose contents `fill` has queued; where that throws, its memory is given back. */
  private filled(tensor: Tensor, fill: (native: NativeTensor) => void): Tensor {
    try {
      this.call(() => fill(tensor.native));
      return tensor;
    } catch (error) {
      tensor.dispose();
      throw error;
    }
  }

  private call<R>(f: () => R): R {
    try {
      return f();
    } catch (error) {
      throw typed(error);
    }
  }
}

/** The arguments as the addon takes them: what stands behind a tensor in its place. */
function withNative(args: object): object {
  if (!args) return args;
  const native: Record<string, unknown> = {};
  // Every op passes here: without the arrays that Object.entries makes.
  for (const name in args) native[name] = nativeOf(args[name as keyof typeof args]);
  return native;
}

function nativeOf(value: unknown): unknown {
  if (value instanceof Tensor) return value.native;
  return Array.isArray(value) ? value.map(nativeOf) : value;
}

/** Throws BAD_OPTION unless the data's elements are as wide as the type's, and whole numbers where that has them. */
function expectElements(data: TensorData, dtype: DType): void {
  const width = isQuantized(dtype) ? 1 : bytesOf(dtype, [1]);
  if (data.BYTES_PER_ELEMENT !== width || (width === 4 && data instanceof Int32Array !== (dtype === 'i32'))) {
    throw new BtsError(
      'BAD_OPTION',
      `${data.constructor.name} elements of ${data.BYTES_PER_ELEMENT} bytes came for a tensor of type ${dtype}.`,
    );
  }
}
