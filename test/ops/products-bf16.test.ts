/** Products on the CPU whose operands are rounded to bf16, where the processor multiplies that. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { DType } from '../../lib/tensor/addon.js';
import { Device, whyNotBf16 } from '../../lib/tensor/device.js';
import { fails } from '../data/data-fixtures.js';
import { type Case, call, describe, run } from '../support/case.js';
import { openCpu } from '../support/devices.js';
import { build, type Draw, sizeOf, Values } from '../support/reference.js';
import { narrow } from '../support/reference-halves.js';
import { attentionBackward, attentionForward } from './attention.js';

const products = suite('products in bf16');
const why = whyNotBf16();
if (why !== undefined) console.log(`products in bf16: skipped, ${why}`);

const bytes = (device: Device, each: Case) =>
  run(device, each, (tensors) => Promise.all([...tensors.values()].map((tensor) => tensor.readBytes())));

/** That a device of either precision gives the same bytes. */
async function same(cases: Case[]): Promise<void> {
  using f32 = openCpu();
  using bf16 = Device.open('cpu', { threads: 2, precision: 'bf16' });
  for (const each of cases) {
    const [wanted, got] = await Promise.all([bytes(f32, each), bytes(bf16, each)]);
    assert.ok(
      wanted.every((part, i) => Buffer.compare(part, got[i]!) === 0),
      `${each.op} ${each.label} differs`,
    );
  }
}

/** Numbers from -8 to 8 that bf16 holds and whose sums of products f32 holds: no order of additions rounds them. */
function whole(draw: Draw, shape: readonly number[], dtype: DType = 'f32'): Values {
  const { data } = draw.integers(sizeOf(shape), 17);
  return new Values(
    shape,
    data.map((x) => x - 8),
    dtype,
  );
}

interface Sizes {
  N: number;
  I: number;
  O: number;
  dtype?: DType;
}

function casesOf({ N, I, O, dtype }: Sizes): Case[] {
  const label = describe({ N, I, O, dtype });
  return [
    call('linear_forward', label, (draw) => ({
      y: whole(draw, [1, N, O]),
      x: whole(draw, [1, N, I]),
      weight: [whole(draw, [O, I], dtype)],
      bias: [whole(draw, [O])],
      residual: whole(draw, [1, N, O]),
    })),
    call('linear_backward_input', label, (draw) => ({
      dx: whole(draw, [1, N, I]),
      dy: whole(draw, [1, N, O]),
      weight: [whole(draw, [O, I], dtype)],
      accumulate: true,
    })),
    call('linear_backward_weight', label, (draw) => ({
      dweight: [whole(draw, [O, I])],
      dbias: undefined,
      dy: whole(draw, [1, N, O]),
      x: whole(draw, [1, N, I]),
    })),
    call('swiglu_linear', label, (draw) => ({
      y: whole(draw, [1, N, O]),
      x: whole(draw, [1, N, I]),
      gate: [whole(draw, [O, I], dtype)],
      up: [whole(draw, [O, I], dtype)],
      gateBias: undefined,
      upBias: undefined,
      activation: 'silu' as const,
    })),
  ];
}

products('an instruction set without them is NO_DEVICE, and says what to do', async () => {
  const open = (instructionSet: string) => () => Device.open('cpu', { instructionSet, precision: 'bf16' });
  // Arm's one set may have them.
  if (process.arch === 'x64')
    await fails(open('generic'), 'NO_DEVICE', /AVX512_BF16 .*; this would be 'generic'\. .*f32/);
  await fails(open('sse9'), 'NO_DEVICE', /'sse9'.*generic/);
});

products('a device says what it computes in', () => {
  using plain = openCpu();
  assert.equal([plain.activations, plain.precision], ['f32', 'f32']);
  if (why !== undefined) return;
  using device = Device.open('cpu', { precision: 'bf16' });
  assert.equal([device.activations, device.precision], ['f32', 'bf16']);
});

if (why === undefined) {
  products('numbers that bf16 holds give what f32 gives, to the last bit, at sizes beside every block', async () => {
    const sizes = [1, 2, 13, 14, 15, 31, 32, 33, 65];
    const all = sizes.flatMap((N, i) =>
      sizes.map((I, j) => ({
        N,
        I,
        O: sizes[(i + 2 * j) % sizes.length]!,
        dtype: (['f32', 'bf16', 'f16'] as const)[j % 3]!,
      })),
    );
    // Past a block of rows, of columns, of the depth, and with rows that lie a multiple of a page apart.
    const large: Sizes[] = [
      { N: 143, I: 769, O: 33, dtype: 'bf16' },
      { N: 143, I: 769, O: 35 },
      { N: 771, I: 17, O: 259, dtype: 'bf16' },
      { N: 17, I: 1024, O: 512 },
      { N: 17, I: 1537, O: 31, dtype: 'f16' },
    ];
    await same([...all, ...large].flatMap(casesOf));
  });

  products('products of few rows, and attention, are computed in f32', async () => {
    const heads = { M: 2, B: 2, T: 70, H: 4, K: 2, D: 16 };
    const rows = [1, 4].map((N) =>
      call('linear_forward', describe({ N }), (draw) => ({
        y: draw.normal([1, N, 35]),
        x: draw.normal([1, N, 37]),
        weight: [draw.normal([35, 37])],
        bias: undefined,
        residual: undefined,
      })),
    );
    await same([...rows, attentionForward(heads), attentionBackward(heads)]);
  });

  products('operands are rounded to the nearest, ties to even; infinities and NaN stay what they are', async () => {
    const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 5 * 2 ** -8, 255.5];
    const others = [1 + 2 ** -8 + 2 ** -20, 1 + 2 ** -8 - 2 ** -20, 1 / 3, Math.PI, 3.4e38, 2 ** -126, 0];
    const numbers = [...ties, ...others, Number.POSITIVE_INFINITY].flatMap((x) => [x, -x]);
    const x = Float32Array.from([...numbers, Number.NaN]);
    const rounded = Array.from(x, (each) => narrow(each, 'bf16'));
    using device = Device.open('cpu', { threads: 1, precision: 'bf16' });
    const multiply = async (left: Float32Array, right: Float32Array) => {
      using y = device.empty([1, left.length, right.length]);
      using a = device.tensor(left, [1, left.length, 1]);
      using b = device.tensor(right, [right.length, 1]);
      device.run('linear_forward', {
        y,
        x: a,
        weight: [b],
        bias: undefined,
        residual: undefined,
      });
      return Array.from(await y.read());
    };
    const ones = new Float32Array(5).fill(1);
    const expect = (got: number[], wanted: Float64Array) =>
      // A sum that begins with 0 has no negative zero.
      assert.equal(
        got,
        Array.from(wanted, (each) => each + 0),
      );
    expect(
      await multiply(x, ones),
      build([x.length, 5], (i) => rounded[i!]!),
    );
    expect(
      await multiply(ones, x),
      build([5, x.length], (_, i) => rounded[i!]!),
    );
  });
}

products.run();
