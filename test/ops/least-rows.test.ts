/** What `Device.leastRows` and `leastLanes` promise: a product sums a row in one way, whatever rows are computed beside it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DType, isQuantized } from '../../lib/tensor/addon.js';
import type { Device } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { devices } from '../support/devices.js';

const DEPTH = 136;
const OUTPUTS = 200;
const ROWS = 300;
const RANK = 11;

let seed = 0;

/** Normal numbers of hidden states or weights. */
function normal(device: Device, shape: number[], dtype: DType): Tensor {
  const wide = device.empty(shape);
  device.run('fill_normal', { y: wide, deviation: 1, seed: ++seed });
  if (dtype === 'f32') return wide;
  const narrow = device.empty(shape, dtype);
  device.run(isQuantized(dtype) ? 'quantize' : 'convert', { y: narrow, x: wide });
  wide.dispose();
  return narrow;
}

for (const device of devices()) {
  const { activations, leastRows, leastLanes } = device;
  const dtypes: DType[] = ['f32', 'bf16', 'int8', 'int4'];
  const kinds = dtypes.flatMap((dtype) => [
    { dtype, alone: false, count: leastRows },
    { dtype, alone: true, count: leastLanes },
  ]);
  for (const { dtype, alone, count } of kinds) {
    const what = `rows${alone ? ' computed alone' : ''}`;
    test(`${device.label}: ${what} from the ${count}th on change no bit of those before, weights in ${dtype}`, async () => {
      using all = normal(device, [1, ROWS, DEPTH], activations);
      using weight = normal(device, [OUTPUTS, DEPTH], dtype);
      using other = normal(device, [OUTPUTS, DEPTH], dtype);
      const added = isQuantized(dtype) ? 'bf16' : dtype;
      using down = normal(device, [RANK, DEPTH], added);
      using up = normal(device, [OUTPUTS, RANK], added);
      const bytes = await all.readBytes();
      const products = async (rows: number): Promise<Buffer[]> => {
        const Numbers = activations === 'f32' ? Float32Array : Uint16Array;
        const part = new Numbers(new Uint8Array(bytes).buffer, 0, rows * DEPTH);
        using x = device.tensor(part, [1, rows, DEPTH], activations);
        using y = device.empty([1, rows, OUTPUTS], activations);
        using gated = device.empty([1, rows, OUTPUTS], activations);
        using adapted = device.empty([1, rows, OUTPUTS], activations);
        const linear = { x, weight: [weight], bias: undefined, residual: undefined, alone };
        device.run('linear_forward', { y, ...linear });
        const adapter = { down: [down], up: [up], scales: Float64Array.of(0.7) };
        device.run('linear_forward', { y: adapted, ...linear, ...adapter });
        device.run('swiglu_linear', {
          y: gated,
          x,
          gate: [weight],
          up: [other],
          gateBias: undefined,
          upBias: undefined,
          activation: 'silu',
          alone,
        });
        return await Promise.all([y, gated, adapted].map(async (tensor) => Buffer.from(await tensor.readBytes())));
      };
      const least = await products(count);
      for (const rows of [5, 17, 33, 65, 130, ROWS].filter((rows) => rows > count)) {
        for (const [i, result] of (await products(rows)).entries()) {
          const same = result.subarray(0, least[i]!.length).equals(least[i]!);
          assert.ok(same, `${['linear', 'gated', 'adapted'][i]} differs in the first rows of ${rows}`);
        }
      }
    });
  }

  test.after(() => device.dispose());
}

test.run();
