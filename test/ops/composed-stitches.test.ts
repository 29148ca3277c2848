/** Both stitch layers as compositions of small ops: what the fused ops compute, values and gradients. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ops from '../../lib/tensor/ops/index.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { upload } from '../support/case.js';
import { openCpu } from '../support/devices.js';
import { Draw } from '../support/reference.js';

const [M, N, C] = [3, 7, 16] as const;
const device = openCpu();
const ids = device.tensor(Int32Array.of(0), [1]);

/** The same weights in another shape. */
const viewed = ({ name, value, gradient }: Parameter, ...shape: number[]) =>
  new Parameter(name, value.reshape(...shape), gradient?.reshape(...shape));

/** dropout(h_0 Wg^T + bg): [N, M, G] from h_0 [1, N, C]. */
function gateLogits(scope: Scope, hub: Tensor, { gate, gateBias }: ops.StitchWeights, dropout: ops.Dropout): Tensor {
  const G = gate.value.shape[1]!;
  const z = ops.linear(scope, hub, [viewed(gate, M * G, C)], { bias: [viewed(gateBias!, M * G)] });
  return scope.track(ops.dropout(scope, z, dropout).reshape(N, M, G));
}

const composed = {
  expertsIntoHub(scope: Scope, h: Tensor, weights: ops.StitchWeights, dropout: ops.Dropout): Tensor {
    const hub = ops.slice(scope, h, 0, 0, 1);
    const gates = ops.softmax(scope, gateLogits(scope, hub, weights, dropout), 1);
    const projected = ops.linear(scope, ops.slice(scope, h, 0, 1, M), weights.proj);
    const all = ops.concat(scope, hub, projected, 0);
    return ops.sumAxis(scope, ops.mul(scope, all, ops.swapAxes(scope, gates)), 0);
  },

  hubIntoExperts(scope: Scope, h: Tensor, weights: ops.StitchWeights, dropout: ops.Dropout): Tensor {
    const hub = ops.slice(scope, h, 0, 0, 1);
    const gates = ops.swapAxes(scope, ops.sigmoid(scope, gateLogits(scope, hub, weights, dropout)));
    const projected = ops.linear(scope, ops.repeat(scope, hub, M - 1), weights.proj);
    const own = ops.slice(scope, h, 0, 1, M);
    return ops.concat(scope, hub, ops.lerp(scope, own, projected, ops.slice(scope, gates, 0, 1, M)), 0);
  },
};

const fused = {
  expertsIntoHub: (scope: Scope, h: Tensor, weights: ops.StitchWeights, dropout: ops.Dropout) =>
    ops.expertsIntoHub(scope, h, weights, { dropout, experts: 'ended' }).h,
  hubIntoExperts: (scope: Scope, h: Tensor, weights: ops.StitchWeights, dropout: ops.Dropout) =>
    ops.hubIntoExperts(scope, h, weights, dropout).h,
};

for (const kind of ['expertsIntoHub', 'hubIntoExperts'] as const) {
  for (const G of [C, 1]) {
    for (const rate of [0, 0.25]) {
      test(`${kind} with gates of width ${G} and dropout ${rate} is what its parts are`, async () => {
        const draw = new Draw(3);
        const weight = (...shape: number[]) =>
          Parameter.trainable(device, 'weight', upload(device, draw.f32(shape, 0.3)));
        const weights = { gate: weight(M, G, C), gateBias: weight(M, G), proj: [weight(C, C), weight(C, C)] };
        const hidden = weight(1, M * N * C);
        const all = [weights.gate, weights.gateBias, ...weights.proj, hidden];
        const projection = draw.f32([1, (kind === 'expertsIntoHub' ? 1 : M) * N * C]);

        const results = async (stitch: (typeof fused)[typeof kind]) => {
          using scope = Scope.recording(device);
          const h = scope.track(ops.embedding(scope, [hidden], ids).reshape(M, N, C));
          const y = stitch(scope, h, weights, { rate, seed: 12345 });
          const value = await y.read();
          const flat = scope.track(y.reshape(1, 1, y.size));
          const loss = ops.linear(scope, flat, [new Parameter('projection', upload(device, projection))]);
          scope.backward(scope.track(loss.reshape(1)));
          const gradients = await Promise.all(all.map(({ gradient }) => gradient!.read()));
          for (const { gradient } of all) device.run('fill', { y: gradient!, value: 0 });
          return [value, ...gradients];
        };

        const wanted = await results(fused[kind]);
        const got = await results(composed[kind]);
        wanted.forEach((values, i) => {
          const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
          assert.ok(largest > 0.1, 'nothing is computed');
          values.forEach((x, j) => {
            assert.ok(
              Math.abs(x - got[i]![j]!) <= largest * 2 ** -20,
              `${got[i]![j]} for ${x}, in result ${i} at ${j}`,
            );
          });
        });
      });
    }
  }
}

test.after(() => device.dispose());

test.run();
