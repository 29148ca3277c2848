/** What is wrong is refused at once; what only the data can show rejects the read of what was computed from it, and nothing else. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fails } from '../data/data-fixtures.js';
import { run, valuesOf, withActivations } from '../support/case.js';
import { devices } from '../support/devices.js';
import { faults, references, refused } from '../support/op-test.js';
import { exact, type Op, type Reference } from '../support/reference.js';

for (const device of devices()) {
  for (const { case: plain, code, message } of faults) {
    const each = withActivations(plain, device.activations);
    test(`${device.label}: ${each.op} with ${each.label} rejects the read of its outputs alone`, async () => {
      const outputs = Object.keys((references[each.op] as Reference<Op>)(each.args as never, exact));
      const written = new Set(outputs.flatMap((name) => valuesOf(each.args[name])));
      assert.ok(written.size > 0);
      await run(device, each, async (tensors) => {
        for (const [values, tensor] of tensors) {
          if (written.has(values)) await fails(() => tensor.readBytes(), code, message);
          else await tensor.readBytes();
        }
      });
    });
  }

  for (const { case: plain, code, message } of refused) {
    const each = withActivations(plain, device.activations);
    test(`${device.label}: ${each.op} with ${each.label} is refused`, async () => {
      await fails(() => run(device, each, () => Promise.resolve()), code, message);
    });
  }

  test.after(() => device.dispose());
}

test.run();
