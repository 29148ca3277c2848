import { product } from '../../lib/tensor/native-ops.js';
import { bytesOf, type Dimensions, FEED_FORWARD, type Inputs, prepared, WIDTH, type Work } from './work.js';

const UP = [WIDTH, FEED_FORWARD] as const;
const DOWN = [FEED_FORWARD, WIDTH] as const;
const SQUARE = [WIDTH, WIDTH] as const;
type Shape = typeof UP | typeof DOWN | typeof SQUARE;

const labelOf = ([inputs, outputs]: Shape) => `${inputs}->${outputs}`;

/** Tokens that are decoded at once: as many products are bound by reading their weights. */
const FEW_ROWS = [1, 4, 16, 64];

/** The grouped products of a layer, and their gradients. */
export function products(dimensions: Dimensions): Work[] {
  return [
    ...[SQUARE, UP, DOWN].map((shape) => linear(dimensions, shape)),
    gated(dimensions),
    ...[SQUARE, UP, DOWN].map((shape) => inputGradient(dimensions, shape)),
    ...[SQUARE, UP].map((shape) => weightGradient(dimensions, shape)),
  ];
}

/** The same for the few rows of decoding. */
export function fewRowProducts({ members, ...rest }: Dimensions): Work[] {
  return FEW_ROWS.flatMap((rows) =>
    [
      linear({ members, ...rest, rows }, UP),
      gated({ members, ...rest, rows }),
      linear({ members, ...rest, rows }, DOWN),
    ].map(({ name, prepare }) => ({ name: `${name}, ${rows} row${rows > 1 ? 's' : ''}`, prepare })),
  );
}

const flopsOf = ({ members, rows }: Dimensions, [inputs, outputs]: Shape) => members * product(rows, inputs, outputs);

function linear(dimensions: Dimensions, shape: Shape, dtype: 'f32' | 'bf16' = 'bf16'): Work {
  const [inputs, outputs] = shape;
  const { members, rows } = dimensions;
  return {
    name: `linear_forward ${labelOf(shape)}`,
    prepare: (make) => {
      const [x, y] = [make.hidden(members, rows, inputs), make.hidden(members, rows, outputs)];
      const weight = make.weights(members, outputs, inputs, dtype);
      return prepared(
        make,
        'linear_forward',
        { y, x, weight, bias: undefined, residual: undefined },
        { results: [y], flops: flopsOf(dimensions, shape), bytes: bytesOf(...weight, x, y) },
      );
    },
  };
}

/** A product with the weights of a frozen model in f32: of a CPU. */
export const wideLinear = (dimensions: Dimensions): Work => {
  const { name, prepare } = linear(dimensions, SQUARE, 'f32');
  return { name: `${name}, weights in f32`, prepare };
};

function gated({ members, rows, ...rest }: Dimensions): Work {
  return {
    name: `swiglu_linear ${labelOf(UP)}`,
    prepare: (make) => {
      const [x, y] = [make.hidden(members, rows, WIDTH), make.hidden(members, rows, FEED_FORWARD)];
      const [gate, up] = [make.weights(members, FEED_FORWARD, WIDTH), make.weights(members, FEED_FORWARD, WIDTH)];
      return prepared(
        make,
        'swiglu_linear',
        { y, x, gate, up, gateBias: undefined, upBias: undefined, activation: 'silu' },
        {
          results: [y],
          flops: 2 * flopsOf({ members, rows, ...rest }, UP),
          bytes: bytesOf(...gate, ...up, x, y),
        },
      );
    },
  };
}

function inputGradient(dimensions: Dimensions, shape: Shape): Work {
  const [inputs, outputs] = shape;
  const { members, rows } = dimensions;
  return {
    name: `linear_backward_input ${labelOf(shape)}`,
    prepare: (make: Inputs) => {
      const [dx, dy] = [make.hidden(members, rows, inputs), make.hidden(members, rows, outputs)];
      const weight = make.weights(members, outputs, inputs);
      return prepared(
        make,
        'linear_backward_input',
        { dx, dy, weight, accumulate: false },
        { results: [dx], flops: flopsOf(dimensions, shape), bytes: bytesOf(...weight, dx, dy) },
      );
    },
  };
}

function weightGradient(dimensions: Dimensions, shape: Shape): Work {
  const [inputs, outputs] = shape;
  const { members, rows } = dimensions;
  return {
    name: `linear_backward_weight ${labelOf(shape)}`,
    prepare: (make: Inputs) => {
      const [x, dy] = [make.hidden(members, rows, inputs), make.hidden(members, rows, outputs)];
      const dweight = Array.from({ length: members }, () => make.full([outputs, inputs], 0));
      return prepared(
        make,
        'linear_backward_weight',
        { dweight, dbias: undefined, dy, x },
        { results: dweight, flops: flopsOf(dimensions, shape), bytes: 2 * bytesOf(...dweight) + bytesOf(x, dy) },
      );
    },
  };
}
