/** Members that hold one weight together compute, to the bit, what each computes with a copy of its own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { upload } from '../support/case.js';
import { devices } from '../support/devices.js';
import { Draw, type Values } from '../support/reference.js';

const [M, I, O, RANK] = [5, 72, 40, 3];

for (const device of devices()) {
  const { activations } = device;
  for (const N of [1, 2, 4, 5, 9, 40]) {
    test(`${device.label}: ${N} rows of each of ${M} members`, async () => {
      const draw = new Draw(N);
      const owned: Tensor[] = [];
      const own = (tensor: Tensor) => {
        owned.push(tensor);
        return tensor;
      };
      const tensor = (values: Values) => own(upload(device, values));
      const hidden = (width: number) => {
        const wide = tensor(draw.normal([M, N, width], 1, 'f32'));
        const narrow = own(device.empty(wide.shape, activations));
        device.run('convert', { y: narrow, x: wide });
        return narrow;
      };
      const [x, dy] = [hidden(I), hidden(O)];
      const alike = [0, 0, 0, 1, 0].map(
        (which) => [draw.normal([O, I], 1, 'bf16'), draw.normal([O, I], 1, 'bf16'), which] as const,
      );
      const [first, second] = alike[0]!;
      const contents = alike.map(([, , which]) => (which === 0 ? first : second));
      const shared = [tensor(first), tensor(second)];
      const together = contents.map((one) => (one === first ? shared[0]! : shared[1]!));
      const apart = contents.map(tensor);
      const adapter = {
        down: [undefined, tensor(draw.f32([RANK, I])), undefined, tensor(draw.f32([8, I])), undefined],
        up: [undefined, tensor(draw.f32([O, RANK])), undefined, tensor(draw.f32([O, 8])), undefined],
        scales: Float64Array.of(1, 2, 1, 0.5, 1),
      };
      const compute = async (weight: Tensor[]) => {
        const results: Tensor[] = [];
        const result = (width: number) => {
          results.push(own(device.empty([M, N, width], activations)));
          return results.at(-1)!;
        };
        for (const added of [{}, adapter]) {
          device.run('linear_forward', { y: result(O), x, weight, bias: undefined, residual: undefined, ...added });
          device.run('linear_backward_input', { dx: result(I), dy, weight, accumulate: false, ...added });
        }
        const biases = { gateBias: undefined, upBias: undefined };
        device.run('swiglu_linear', { y: result(O), x, gate: weight, up: weight, ...biases, activation: 'silu' });
        return await Promise.all(results.map(async (each) => Buffer.from(await each.readBytes())));
      };
      const expected = await compute(apart);
      for (const [i, got] of (await compute(together)).entries()) assert.ok(got.equals(expected[i]!), `result ${i}`);
      for (const each of owned) each.dispose();
    });
  }

  test.after(() => device.dispose());
}

test.run();
