import type { QuantizedType } from '../../lib/tensor/addon.js';
import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, type Draw, exact, Values } from '../support/reference.js';
import { naiveQuantized } from '../support/reference-quantized.js';

const types: QuantizedType[] = ['int8', 'int4'];

const quantize = (options: object, to: QuantizedType, x: (draw: Draw) => Values): Case =>
  call('quantize', describe({ to, ...options }), (draw) => {
    const values = x(draw);
    return { y: blank(values.shape, to), x: values };
  });

const dequantize = (x: QuantizedType, shape: number[]): Case =>
  call('dequantize', describe({ x, shape }), (draw) => ({ y: blank(shape, 'f32'), x: draw.normal(shape, 1, x) }));

/** Numbers of which one is not finite. */
const spoiled = (wrong: number) => (draw: Draw) => {
  const { shape, data } = draw.f32([3, 170]);
  const changed = Float64Array.from(data);
  changed[170 + 150] = wrong;
  return new Values(shape, changed, 'f32');
};

const shapes = [
  [1, 1],
  [3, 31],
  [5, 172],
  [70, 256],
];

export const quantized: OpTest = {
  references: {
    // Whoever rounds to the nearest of evenly spaced codes is the naive computation.
    quantize: ({ y, x }, r) => ({
      y: r === exact ? x.data : naiveQuantized(y.dtype as QuantizedType, x.shape, x.data),
    }),
    dequantize: ({ x }) => ({ y: x.data }),
  },
  cases: [
    ...types.flatMap((to) => [
      ...shapes.flatMap((shape) =>
        (['f32', 'bf16', 'f16'] as const).map((x) => quantize({ x, shape }, to, (draw) => draw.normal(shape, 0.1, x))),
      ),
      quantize({ all: 'zero' }, to, () => new Values([2, 40], new Float64Array(80), 'f32')),
      quantize({ all: 'alike' }, to, () => new Values([2, 40], new Float64Array(80).fill(-0.75), 'f32')),
      quantize({ shape: 'of no width' }, to, () => new Values([2, 0], new Float64Array(0), 'f32')),
      quantize({ scale: 1e-30 }, to, (draw) => draw.f32([2, 40], 1e-30)),
      quantize({ scale: 1e37 }, to, (draw) => draw.f32([2, 40], 1e37)),
      ...shapes.map((shape) => dequantize(to, shape)),
    ]),
  ],
  large: types.map((to) => quantize({ shape: 'large' }, to, (draw) => draw.f32([300, 270]))),
  faults: types.flatMap((to) =>
    [Number.NaN, Number.NEGATIVE_INFINITY].map((wrong) => ({
      case: quantize({ wrong }, to, spoiled(wrong)),
      code: 'BAD_CHECKPOINT' as const,
      message: /the number at \[1, 150\] is not finite, and has no place among the codes of int[84]/,
    })),
  ),
  refused: [
    {
      case: call('quantize', 'to f32', (draw) => ({ y: blank([2, 3], 'f32'), x: draw.f32([2, 3]) })),
      code: 'BAD_SHAPE',
      message: /'y' holds f32, expected int8 or int4/,
    },
    {
      case: call('quantize', 'of another shape', (draw) => ({ y: blank([2, 3], 'int8'), x: draw.f32([3, 2]) })),
      code: 'BAD_SHAPE',
      message: /one shape, got \[3, 2\] and \[2, 3\]/,
    },
    {
      case: call('linear_forward', 'bias in int8', (draw) => ({
        y: blank([1, 2, 3]),
        x: draw.normal([1, 2, 4]),
        weight: draw.members(1, [3, 4]),
        bias: [draw.normal([1, 3], 1, 'int8')],
        residual: undefined,
      })),
      code: 'BAD_SHAPE',
      message: /'bias\[0\]' holds int8, expected floats/,
    },
    ...types.map((to) => ({
      case: call('quantize', `a vector to ${to}`, (draw) => ({ y: blank([40], to), x: draw.f32([40]) })),
      code: 'BAD_SHAPE' as const,
      message: /only matrices can be in int[84], not \[40\]/,
    })),
  ],
};
