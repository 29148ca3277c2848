/**
 * Every op of native/ops.h on every device against a reference in f64. The error allowed is twice that of a naive
 * computation of the same formula in the device's precision.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cases } from './ops/cases.js';
import { devices } from './support/devices.js';
import { Expectations, references, verify, withActivations } from './support/reference-case.js';

const opened = [...devices()];
const arithmetics = new Map(opened.map((device) => [`${device.activations} ${device.precision}`, device]));

for (const op of Object.keys(references)) {
  const own = cases.filter((each) => each.op === op);

  test(`${op} gives what its formula says`, async () => {
    assert.ok(own.length > 0, 'no case calls it');
    for (const { activations, precision } of arithmetics.values()) {
      for (const each of own.map((own) => withActivations(own, activations))) {
        const expected = new Expectations(each, { activations, precision });
        for (const device of opened) {
          if (device.activations !== activations || device.precision !== precision) continue;
          await verify(device, `${device.label}: ${op} ${each.label}`, each, expected);
        }
      }
    }
  });
}

test.after(() => {
  for (const device of opened) device.dispose();
});

test.run();
