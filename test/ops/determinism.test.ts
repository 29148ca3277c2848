/** The same bytes come out whatever the number of threads. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/tensor/addon.js';
import { Device, type DeviceOptions, whyNotBf16 } from '../../lib/tensor/device.js';
import { type Case, run } from '../support/case.js';
import { large } from '../support/op-test.js';

const threads = [1, 2, 3, 5];

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
    for (const each of large) {
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
