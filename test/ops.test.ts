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
const precisions = new Set(opened.map(({ activations }) => activations));

for (const op of Object.keys(references)) {
  const own = cases.filter((each) => each.op === op);

  test(`${op} gives what its formula says`, async () => {
    assert.ok(own.length > 0, 'no case calls it');
    for (const precision of precisions) {
      for (const each of own.map((own) => withActivations(own, precision))) {
        const expected = new Expectations(each, precision);
        for (const device of opened) {
          if (device.activations !== precision) continue;
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
