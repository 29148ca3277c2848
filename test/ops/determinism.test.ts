/** The same bytes come out whatever the number of threads. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/addon.js';
import { Device, type DeviceOptions, whyNotBf16 } from '../../lib/tensor/device.js';
import { type Case, run } from '../support/reference-case.js';
import { attentionBackward, attentionForward } from './attention.js';
import { elements } from './elementwise.js';
import { linearBackwardInput, linearBackwardWeight, linearForward, swigluLinear } from './linear.js';
import { mixture } from './mix.js';
import { optimizer } from './optimizer.js';
import { crossEntropy, embedding, rmsNorm, rope, swiglu } from './rows.js';
import { intoExperts, intoHub } from './stitch.js';

const threads = [1, 2, 3, 5];

// Large enough that every op has work for five.
const stitch = { M: 3, N: 130, C: 80, G: 80, bias: true, dropout: 0.5 };
const heads = { M: 2, B: 2, T: 130, H: 4, K: 2, D: 16 };
const wanted = { dh: true, dprojected: true };
const cases: Case[] = [
  linearForward({ N: 300, I: 270, O: 600, bias: ['f32'], residual: 'in place' }),
  linearForward({ N: 3, I: 270, O: 1300, M: 2 }),
  swigluLinear({ N: 1200, I: 30, O: 300, bias: ['f32'] }),
  linearBackwardInput({ N: 300, I: 600, O: 270 }, true),
  linearBackwardWeight({ N: 270, I: 600, O: 300 }, true),
  attentionForward(heads),
  attentionForward({ ...heads, S: 300, T: 3, starts: [297, 100], window: 150 }),
  attentionBackward(heads),
  attentionBackward({ ...heads, window: 60 }),
  ...intoHub(stitch, wanted),
  ...intoExperts(stitch, wanted),
  ...intoExperts({ ...stitch, G: 1 }, wanted),
  ...mixture({ M: 3, N: 300, C: 80, keep: 2, temperature: 0.5 }),
  ...rmsNorm(3, 500, 80),
  ...embedding(3, 40, 1300),
  ...crossEntropy(20, 5000),
  ...swiglu(300, 200),
  rope({ shape: [3, 2, 40, 8, 80], inverse: false }),
  ...elements(100_001),
  ...optimizer,
];

/** The bytes of all tensors after the op. */
const bytes = (device: Device, each: Case) =>
  run(device, each, (tensors) => Promise.all([...tensors.values()].map((tensor) => tensor.readBytes())));

const instructionSets = loadAddon()
  .variants()
  .filter(({ supported }) => supported);
const kinds: DeviceOptions[] = instructionSets.map(({ name }) => ({ instructionSet: name }));
if (whyNotBf16() === undefined) kinds.push({ precision: 'bf16' });

for (const kind of kinds) {
  test(`1, 2, 3 and 5 threads agree to the last bit (${Object.values(kind)})`, async () => {
    const opened = threads.map((count) => Device.open('cpu', { threads: count, ...kind }));
    for (const each of cases) {
      const [alone, ...shared] = await Promise.all(opened.map((device) => bytes(device, each)));
      shared.forEach((result, i) => {
        const same = result.every((part, tensor) => Buffer.compare(part, alone![tensor]!) === 0);
        assert.ok(same, `${each.op} ${each.label} differs with ${threads[i + 1]} threads`);
      });
    }
    for (const device of opened) device.dispose();
  });
}

test.run();
