/** A product with a matrix in 8 or 4 bits is, to the bit, the one with the matrix of f32 that it stands for. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/tensor/addon.js';
import { Device } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { upload } from '../support/case.js';
import { devices } from '../support/devices.js';
import { Draw, Values } from '../support/reference.js';

const OUTPUTS = 67;

async function products(device: Device, weight: Tensor, rows: number, draw: Draw): Promise<Buffer[]> {
  const [, inputs = 0] = weight.shape;
  using x = upload(device, draw.f32([1, rows, inputs]));
  using dy = upload(device, draw.f32([1, rows, OUTPUTS]));
  using y = device.empty([1, rows, OUTPUTS]);
  using dx = device.empty([1, rows, inputs]);
  using gated = device.empty([1, rows, OUTPUTS]);
  const none = { bias: undefined, residual: undefined };
  device.run('linear_forward', { y, x, weight: [weight], ...none });
  device.run('linear_backward_input', { dx, dy, weight: [weight], accumulate: false });
  const biases = { gateBias: undefined, upBias: undefined };
  device.run('swiglu_linear', { y: gated, x, gate: [weight], up: [weight], ...biases, activation: 'silu' });
  return await Promise.all([y, dx, gated].map(async (tensor) => Buffer.from(await tensor.readBytes())));
}

for (const device of devices()) {
  if (device.name !== 'cpu') continue;
  for (const dtype of ['int8', 'int4'] as const) {
    test(`${device.label}: ${dtype}`, async () => {
      for (const inputs of [31, 172, 512, 900]) {
        using codes = upload(device, new Draw(inputs).normal([OUTPUTS, inputs], 1, dtype));
        using plain = device.empty(codes.shape);
        device.run('dequantize', { y: plain, x: codes });
        for (const rows of [1, 3, 4, 5, 40]) {
          const expected = await products(device, plain, rows, new Draw(rows));
          for (const [i, got] of (await products(device, codes, rows, new Draw(rows))).entries())
            assert.ok(got.equals(expected[i]!), `result ${i} of ${rows} rows of ${inputs}`);
        }
      }
    });
  }

  test(`${device.label}: whole numbers times a power of two stay what they are in int8`, async () => {
    const draw = new Draw(3);
    // Groups whose largest number is 127, and such where it is less.
    const values = Float64Array.from(
      draw.integers(40 * 300, 200).data,
      (n, i) => (n - 100) * 2 ** (-3 - ((i % 300) >> 7)),
    );
    values[0] = 127 / 8;
    using weight = upload(device, new Values([40, 300], values, 'f32'));
    using codes = device.empty(weight.shape, 'int8');
    device.run('quantize', { y: codes, x: weight });
    using back = device.empty(weight.shape);
    device.run('dequantize', { y: back, x: codes });
    assert.equal([...(await back.read())], [...values]);
  });

  test(`${device.label}: a part of a matrix is rows of it`, async () => {
    using codes = upload(device, new Draw(1).normal([6, 40], 1, 'int4'));
    using rows = codes.slice(2, 5);
    const all = await codes.readBytes();
    assert.equal(Buffer.from(await rows.readBytes()), Buffer.from(all.subarray(2 * 48, 5 * 48)));
    assert.throws(
      () => codes.reshape(12, 20),
      /views of a tensor of int4 are rows of 40, not \[12, 20\] from element 0/,
    );
  });

  test.after(() => device.dispose());
}

test('threads make no difference to what numbers become', async () => {
  const { name } = loadAddon()
    .variants()
    .findLast(({ supported }) => supported)!;
  const results = [];
  for (const threads of [1, 3]) {
    using device = Device.open('cpu', { threads, instructionSet: name });
    using weight = upload(device, new Draw(5).f32([300, 200]));
    using codes = device.empty(weight.shape, 'int4');
    device.run('quantize', { y: codes, x: weight });
    results.push(Buffer.from(await codes.readBytes()));
  }
  assert.ok(results[0]!.equals(results[1]!));
});

test.run();
