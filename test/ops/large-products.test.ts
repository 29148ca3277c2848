/** Left operands that are laid out in parts, as those of large gradients are. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/tensor/addon.js';
import { Device, whyNotBf16 } from '../../lib/tensor/device.js';

// Rows x depth are more than is laid out at a time, and no size is a whole number of tiles.
const [N, I, O] = [2101, 601, 2103] as const;

const sets = loadAddon()
  .variants()
  .filter(({ supported }) => supported)
  .map(({ name }) => ({ instructionSet: name }));
const devices = [...sets, ...(whyNotBf16() === undefined ? [{ precision: 'bf16' as const }] : [])];

for (const options of devices) {
  test(`the gradient of a large weight is exact in small whole numbers: ${JSON.stringify(options)}`, async () => {
    using device = Device.open('cpu', options);
    const dy = Float32Array.from({ length: N * O }, (_, i) => ((i * 7) % 5) - 2);
    const x = Float32Array.from({ length: N * I }, (_, i) => ((i % I) % 3) - 1);
    using dyTensor = device.tensor(dy, [1, N, O]);
    using xTensor = device.tensor(x, [1, N, I]);
    using dweight = device.full([O, I], 1);
    device.run('linear_backward_weight', { dy: dyTensor, x: xTensor, dweight: [dweight], dbias: undefined });
    const sums = new Float64Array(O);
    for (let i = 0; i < dy.length; i++) sums[i % O]! += dy[i]!;
    const got = await dweight.read();
    for (let o = 0; o < O; o++) {
      for (let i = 0; i < I; i++) {
        const wanted = 1 + sums[o]! * ((i % 3) - 1);
        if (got[o * I + i] !== wanted) assert.unreachable(`${got[o * I + i]} for ${wanted} at ${o}, ${i}`);
      }
    }
  });
}

test.run();
