import { Random } from '../../lib/base/random.js';
import type { DType, FloatType } from '../../lib/tensor/addon.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { type Drawn, drawMatrix, packRows, transposed } from '../support/packed.js';
import { blank, integers, Values } from '../support/reference.js';

type Layout = 'inputs' | 'outputs' | 'rows' | 'bytes';

interface Options {
  layout: Layout;
  bits: 4 | 8;
  to: DType;
  outputs: number;
  inputs: number;
  groupSize?: number;
  symmetric?: boolean;
  ordered?: boolean;
  scales?: FloatType;
}

const KINDS = { inputs: 'gptq_v2', outputs: 'awq', rows: 'pack-quantized', bytes: 'int-quantized' } as const;

function wordsOf({ layout, bits }: Options, { codes }: Drawn): number[] {
  if (layout === 'inputs') return transposed(packRows(codes, bits)).flat();
  if (layout === 'outputs') return packRows(transposed(codes), bits, [0, 2, 4, 6, 1, 3, 5, 7]).flat();
  if (layout === 'rows') return packRows(codes, bits).flat();
  return packRows([codes.flat().map((code) => code - 128)], 8).flat();
}

function unpack(options: Options): Case {
  const { layout, bits, to, outputs, inputs, groupSize = -1, symmetric = false, ordered = false } = options;
  const { scales: type = 'f16' } = options;
  return call('unpack', describe(options), () => {
    const random = new Random(outputs + inputs, 'unpack');
    const format = { kind: KINDS[layout], bits, groupSize, symmetric, ordered, scales: type };
    const drawn = drawMatrix(format, outputs, inputs, random);
    const { scales, zeros, groups } = drawn;
    const [first] = scales;
    const shape = [outputs, first!.length];
    const least = layout === 'bytes' ? 128 : 0;
    return {
      y: blank([outputs, inputs], to),
      codes: integers(wordsOf(options, drawn)),
      scales: new Values(shape, Float64Array.from(scales.flat()), type),
      zeros: integers(
        zeros.flat().map((zero) => zero - least),
        shape,
      ),
      groups: integers(groups),
      layout,
      bits: bits === 8 ? ('8' as const) : ('4' as const),
    };
  });
}

/** Field `place` of a word, by its definition. */
const field = (word: number, bits: number, place: number) =>
  Math.floor((word < 0 ? word + 2 ** 32 : word) / 2 ** (bits * place)) % 2 ** bits;

const shape = { outputs: 24, inputs: 96 };
const plain = [
  { layout: 'inputs', bits: 4 },
  { layout: 'inputs', bits: 8 },
  { layout: 'outputs', bits: 4 },
  { layout: 'rows', bits: 4 },
  { layout: 'rows', bits: 8 },
  { layout: 'bytes', bits: 8 },
] as const;

export const unpacked: OpTest = {
  references: {
    unpack: ({ codes, scales, zeros, groups, y, layout, bits: said }) => {
      const [O = 0, I = 0] = y.shape;
      const bits = layout === 'outputs' ? 4 : layout === 'bytes' ? 8 : Number(said);
      const n = 32 / bits;
      const code = (o: number, i: number) => {
        const at = (word: number, place: number) => field(codes.data[word]!, bits, place);
        if (layout === 'inputs') return at(Math.floor(i / n) * O + o, i % n);
        if (layout === 'outputs') return at(i * (O / 8) + Math.floor(o / 8), [0, 4, 1, 5, 2, 6, 3, 7][o % 8]!);
        if (layout === 'rows') return at(o * Math.ceil(I / n) + Math.floor(i / n), i % n);
        const byte = at(Math.floor((o * I + i) / 4), (o * I + i) % 4);
        return byte < 128 ? byte : byte - 256;
      };
      const numbers = Float64Array.from({ length: O * I }, (_, at) => {
        const [o, i] = [Math.floor(at / I), at % I];
        const g = groups.data[i]!;
        return Math.fround(scales.at(o, g) * (code(o, i) - zeros.at(o, g)));
      });
      return { y: numbers };
    },
  },
  cases: [
    ...plain.flatMap((options) => [
      unpack({ ...options, ...shape, to: 'f32', groupSize: 32, ordered: true }),
      unpack({ ...options, ...shape, to: 'f32', groupSize: 16, scales: 'f32' }),
      unpack({ ...options, ...shape, to: 'f32', scales: 'bf16' }),
    ]),
    ...plain
      .filter(({ bits }) => bits === 4)
      .flatMap((options) => [
        unpack({ ...options, ...shape, to: 'int4', groupSize: 32 }),
        unpack({ ...options, outputs: 16, inputs: 40, to: 'int4', scales: 'bf16' }),
      ]),
    ...plain
      .filter(({ bits }) => bits === 8)
      .flatMap((options) => [
        unpack({ ...options, outputs: 12, inputs: 256, to: 'int8', groupSize: 128, symmetric: true }),
        unpack({ ...options, outputs: 8, inputs: 44, to: 'int8', symmetric: true, scales: 'f32' }),
      ]),
    unpack({ layout: 'rows', bits: 4, outputs: 5, inputs: 37, to: 'int4' }),
  ],
  large: [unpack({ layout: 'inputs', bits: 4, outputs: 512, inputs: 256, to: 'int4', groupSize: 64 })],
  faults: [
    {
      case: call('unpack', 'a group that is not there', () => {
        const test = unpack({ layout: 'inputs', bits: 4, ...shape, to: 'f32', groupSize: 32 });
        return {
          ...(test.args as ReturnType<Parameters<typeof call<'unpack'>>[2]>),
          groups: integers(Array(96).fill(3)),
        };
      }),
      code: 'BAD_SHAPE',
      message: /groups/,
    },
  ],
  refused: [
    {
      case: call('unpack', 'too few words', () => {
        const test = unpack({ layout: 'inputs', bits: 4, ...shape, to: 'f32' });
        return { ...(test.args as ReturnType<Parameters<typeof call<'unpack'>>[2]>), codes: integers([1, 2, 3]) };
      }),
      code: 'BAD_SHAPE',
      message: /288 words of codes, got 3/,
    },
    {
      case: call('unpack', 'codes of 8 bits as int4', () => {
        const test = unpack({ layout: 'rows', bits: 8, ...shape, to: 'int4' });
        return test.args as ReturnType<Parameters<typeof call<'unpack'>>[2]>;
      }),
      code: 'BAD_SHAPE',
      message: /codes of 4 bits for int4/,
    },
  ],
};
