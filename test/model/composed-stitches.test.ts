/** Both directions as compositions of small ops: what the fused ops compute, values, gates and gradients, on every device. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StitchPass, StitchResult } from '../../lib/model/stitches/directions/direction.js';
import { DIRECTIONS } from '../../lib/model/stitches/directions/index.js';
import { GateWeight } from '../../lib/model/stitches/gate-weight.js';
import { fullRank } from '../../lib/model/stitches/kinds/full-rank.js';
import type { StitchWeights } from '../../lib/model/stitches/kinds/kind.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import { GradientNode, type Tensor } from '../../lib/tensor/tensor.js';
import { upload } from '../support/case.js';
import { devices } from '../support/devices.js';
import { Draw } from '../support/reference.js';

const [M, N, C] = [3, 7, 16] as const;
// Of the largest number: several roundings of 2^-24, a few of 2^-8.
const TOLERANCE = { f32: 2 ** -20, bf16: 2 ** -6 };

type Stitch = (scope: Scope, h: Tensor, weights: StitchWeights, pass: StitchPass) => StitchResult;

const opened = [...devices()];

for (const [name, direction] of Object.entries(DIRECTIONS)) {
  const endings =
    direction.firstGated === 0 ? (['projected', 'unchanged', 'ended'] as const) : (['projected'] as const);
  for (const experts of endings) {
    for (const G of [C, 1]) {
      for (const rate of [0, 0.25]) {
        test(`${name}, experts ${experts}, with gates of width ${G} and dropout ${rate} is what its parts are`, async () => {
          for (const device of opened) {
            const draw = new Draw(3);
            const weight = (...shape: number[]) =>
              Parameter.trainable(device, 'weight', upload(device, draw.f32(shape, 0.3)));
            const [gate, bias] = [weight(M, G, C), weight(M, G)];
            const proj = [weight(C, C), weight(C, C)];
            const all = [gate, bias, ...proj];
            using gates = new GateWeight(gate, direction.firstGated);
            using gateBias = new GateWeight(bias, direction.firstGated);
            const weights = { gate: [gates], gateBias, proj: [proj] };
            const dtype = device.activations as 'f32' | 'bf16';
            using hidden = upload(device, draw.normal([M, N, C], 0.3, dtype));
            using dy = upload(device, draw.normal([experts === 'ended' ? 1 : M, N, C], 0.3, dtype));

            const results = async (stitch: Stitch) => {
              using scope = Scope.recording(device);
              const h = scope.track(hidden.share().withNode(new GradientNode()));
              const y = stitch(scope, h, weights, { dropout: { rate, seed: 12345 }, experts });
              const values = [await y.h.read(), await y.gates().read()];
              using dh = scope.tape!.gradientOf(h, y.h, dy);
              const gradients = [dh, ...all.map(({ gradient }) => gradient!)];
              const read = await Promise.all(gradients.map((gradient) => gradient.read()));
              for (const { gradient } of all) device.run('fill', { y: gradient!, value: 0 });
              return [...values, ...read];
            };

            const wanted = await results((scope, h, own, pass) => direction.fused(scope, h, fullRank.fused(own), pass));
            const got = await results((scope, h, own, pass) => direction.composed(scope, h, fullRank, own, pass));
            wanted.forEach((values, i) => {
              const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
              assert.ok(largest > 0.1, 'nothing is computed');
              assert.is(got[i]!.length, values.length);
              values.forEach((x, j) => {
                assert.ok(
                  Math.abs(x - got[i]![j]!) <= largest * TOLERANCE[device.precision],
                  `${device.label}: ${got[i]![j]} for ${x}, in result ${i} at ${j}, the largest is ${largest}`,
                );
              });
            });
            for (const parameter of all) parameter.dispose();
          }
        });
      }
    }
  }
}

test.after(() => {
  for (const device of opened) device.dispose();
});

test.run();
