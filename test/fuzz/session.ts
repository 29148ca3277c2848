import { loadAddon, type NativeDevice, type NativeProgram, type NativeTensor, typed } from '../../lib/tensor/addon.js';
import type { TensorData } from '../../lib/tensor/device.js';
import { allValues, type Case, contents, valuesOf, withActivations } from '../support/case.js';
import { cases, faults, refused } from '../support/op-test.js';
import type { Values } from '../support/reference.js';
import type { Bytes } from './bytes.js';
import { isReadable } from './target.js';

/** What the addon's errors may say. */
const CODES = [
  'BAD_OPTION',
  'BAD_SHAPE',
  'BAD_TOKEN',
  'BAD_CHECKPOINT',
  'DISPOSED',
  'OUT_OF_MEMORY',
  'FILE_NOT_FOUND',
  'FILE_IO',
];

const addon = loadAddon();
const PRECISIONS = ['f32', ...(whyNot('bf16') ? [] : (['bf16'] as const))] as const;
const MOST_ELEMENTS = 1 << 16;
const NOBODYS_ELEMENTS = 2 ** 47;
/** All calls that the tests of ops make, but for those that take long. */
export const CALLS: readonly Case[] = [...cases, ...[...faults, ...refused].map(({ case: each }) => each)].filter(
  (each) => allValues(each).reduce((sum, { data }) => sum + data.length, 0) < 4096,
);

const SIZES = [
  0,
  1,
  2,
  3,
  4,
  5,
  7,
  8,
  16,
  17,
  31,
  33,
  64,
  65,
  2 ** 16,
  2 ** 31,
  2 ** 32,
  2 ** 40,
  2 ** 53,
  -1,
  0.5,
  Number.NaN,
];
const INTEGERS = [0, 1, 2, 3, 5, 63, 64, 65, -1, -2, 2 ** 31 - 1, -(2 ** 31), 1000];
const NUMBERS = [...SIZES, 1e308, -1e308, Number.POSITIVE_INFINITY, -0, 1e-45, 2 ** 52];
const OTHERS = [
  undefined,
  null,
  true,
  '',
  'f32',
  'mean',
  {},
  [],
  [undefined],
  [null, {}],
  new Float64Array(3),
  new Uint8Array(1),
  Symbol.iterator,
];
const PATHS = [process.execPath, '/', '', '\0'];
const STAMPS = [undefined, '', '0 0'];
const MOST_BYTES = 2 ** 20;
const DTYPES = ['f32', 'f16', 'bf16', 'i32', 'int8', 'int4', 'f64', ''] as const;

/** Of what is the same for all inputs, and takes longer to make than the rest of one. */
const inBf16 = new Map<Case, Case>();
const known = new Map<Values, TensorData>();

function asBf16(call: Case): Case {
  if (!inBf16.has(call)) inBf16.set(call, withActivations(call, 'bf16'));
  return inBf16.get(call)!;
}

/** Devices that are at rest: their threads take longer to make than an input. */
const idle = new Map<string, NativeDevice>();

function contentsOf(values: Values): TensorData {
  if (!known.has(values)) known.set(values, contents(values));
  return known.get(values)!;
}

function whyNot(precision: 'bf16'): unknown {
  try {
    new addon.Device(1, '', precision).dispose();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Passes where a call ends with a value, or with an error that has one of the codes. */
function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    return accept(error);
  }
}

function accept(error: unknown): undefined {
  // As users get them: the addon tells of files by the system's numbers.
  const told = typed(error);
  const { code, message } = told as { code?: string; message: string };
  if (!(told instanceof Error && CODES.includes(code!) && isReadable(message))) throw error;
}

/** Calls of one device, one after the other, as the bytes say. */
export class Session {
  private readonly kind: string;
  private readonly device: NativeDevice;
  private readonly tensors: NativeTensor[] = [];
  private readonly programs: NativeProgram[] = [];
  private readonly reads: Promise<unknown>[] = [];

  constructor(private readonly bytes: Bytes) {
    const [threads, precision] = [1 + bytes.below(2), bytes.pick(PRECISIONS)];
    this.kind = `${threads} ${precision}`;
    this.device = idle.get(this.kind) ?? new addon.Device(threads, '', precision);
    idle.delete(this.kind);
  }

  /** Does one thing that a program might do. */
  step(): void {
    const { bytes, device, tensors, programs } = this;
    const calls = [
      () => this.allocate(),
      () => device.upload(this.any(), this.integers()),
      () => this.view(),
      () => bytes.pick(tensors)?.dispose(),
      () => device.load(this.any(), bytes.pick(PATHS), bytes.pick(NUMBERS), bytes.pick(STAMPS)),
      () => device.beginRecording(),
      () => programs.push(device.endRecording()),
      () => bytes.pick(programs)?.run(),
      () => bytes.pick(programs)?.dispose(),
      () => [device.trim(), device.profile(), device.memory(true), device.leastRows(true)],
      () => this.read(this.any()),
    ];
    // Ops are most of it.
    attempt(calls[bytes.below(16)] ?? (() => this.run()));
  }

  /** Gives everything back, and sees that nothing stays. */
  async end(): Promise<void> {
    const { device } = this;
    attempt(() => this.programs.push(device.endRecording()));
    for (const program of this.programs) program.dispose();
    for (const tensor of this.tensors) tensor.dispose();
    await Promise.all(this.reads);
    await device.read();
    const { liveBytes } = device.memory(false);
    if (liveBytes !== 0) throw new Error(`${liveBytes} bytes are left`);
    if (this.bytes.below(16) === 15) device.dispose();
    else idle.set(this.kind, device);
  }

  private shape(): number[] {
    return Array.from({ length: this.bytes.below(10) }, () => this.bytes.pick(SIZES));
  }

  private integers(): NodeJS.TypedArray {
    const { bytes } = this;
    const values = Array.from({ length: bytes.below(32) }, () => bytes.pick(INTEGERS));
    return bytes.below(2) === 0 ? Int32Array.from(values) : Float32Array.from(values);
  }

  /**
   * Small ones, and those that no machine has. Between them ops would take for ever, and the sanitizer, which keeps a byte for
   * eight of what is mapped, gigabytes.
   */
  private allocate(): void {
    const { bytes, device, tensors } = this;
    const [dtype, shape, constant] = [bytes.pick(DTYPES) as 'f32', this.shape(), bytes.below(2) === 0];
    const elements = shape.reduce((product, size) => product * size, 1);
    if (elements > MOST_ELEMENTS && elements < NOBODYS_ELEMENTS) return;
    tensors.push(device.allocate(dtype, shape, constant));
  }

  private view(): void {
    const { bytes } = this;
    const view = bytes.pick(this.tensors)?.view(this.shape(), bytes.pick(NUMBERS));
    if (view) this.tensors.push(view);
  }

  /** A tensor, or what is none. */
  private any(): NativeTensor {
    const { bytes } = this;
    const other = bytes.below(16) === 15 || this.tensors.length === 0;
    return other ? (bytes.pick([...OTHERS, this.device]) as never) : bytes.pick(this.tensors);
  }

  private read(tensor: NativeTensor): void {
    const elements = tensor?.shape?.reduce((product, size) => product * size, 1) ?? 1;
    const bytes = Math.min(elements * this.bytes.pick([4, 2]), MOST_BYTES);
    const buffer = this.bytes.below(16) === 15 ? this.bytes.pick(OTHERS) : new ArrayBuffer(bytes);
    this.reads.push(this.device.read(tensor, buffer as ArrayBuffer).catch(accept));
  }

  /** An op with arguments as a test has them, some of which are changed. */
  private run(): void {
    const { bytes, device } = this;
    const call = bytes.pick(CALLS);
    const { op, args } = bytes.below(4) === 3 ? asBf16(call) : call;
    const resizes = new Map(Array.from({ length: bytes.below(4) }, () => [bytes.pick(SIZES), bytes.pick(SIZES)]));
    const made = new Map<Values, unknown>();
    const tensor = (values: Values) => {
      if (!made.has(values)) made.set(values, this.upload(values, resizes));
      return made.get(values);
    };
    const given = Object.fromEntries(
      Object.entries(args).map(([name, value]): [string, unknown] => {
        const values = valuesOf(value);
        const usual = values.length === 0 ? value : Array.isArray(value) ? values.map(tensor) : tensor(values[0]!);
        return [name, usual];
      }),
    );
    for (let changes = bytes.below(4); changes > 0; changes--) {
      const name = bytes.pick(Object.keys(given));
      given[name] = bytes.pick([
        this.any(),
        [this.any(), given[name]],
        bytes.pick(NUMBERS),
        bytes.pick(OTHERS),
        given[bytes.pick(Object.keys(given))],
      ]);
    }
    device.run(bytes.below(32) === 31 ? 'toString' : op, given);
    for (const each of made.values()) if (bytes.below(4) === 3) this.read(each as NativeTensor);
  }

  private upload(values: Values, resizes: ReadonlyMap<number, number>): NativeTensor | undefined {
    const { shape, dtype, data } = values;
    const sizes = shape.map((size) => resizes.get(size) ?? size);
    const elements = sizes.reduce((product, size) => product * size, 1);
    if (!(elements <= MOST_ELEMENTS)) return undefined;
    const tensor = this.device.allocate(dtype === 'activation' ? 'f32' : dtype, sizes);
    this.tensors.push(tensor);
    const isAsItWas = sizes.every((size, axis) => size === shape[axis]);
    if (isAsItWas) this.device.upload(tensor, contentsOf(values));
    else if (elements === data.length) this.device.upload(tensor, contents({ dtype, data, shape: sizes }));
    return tensor;
  }
}
