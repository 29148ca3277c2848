/**
 * Every op of native/ops/list.h on every device against a reference in f64. The error allowed is twice that of a naive
 * computation of the same formula in the device's precision.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/tensor/addon.js';
import { NativeOps } from '../../lib/tensor/native-ops.js';
import * as ops from '../../lib/tensor/ops/index.js';
import { withActivations } from '../support/case.js';
import { devices } from '../support/devices.js';
import { Expectations, verify } from '../support/expectations.js';
import { cases, references } from '../support/op-test.js';

const opened = [...devices()];
const arithmetics = new Map(opened.map((device) => [`${device.activations} ${device.precision}`, device]));

test('an op that the addon has is declared in lib/tensor/ops, and has a reference', () => {
  const native = loadAddon().ops().sort();
  const declared = Object.values(ops).flatMap((each) => (each instanceof NativeOps ? Object.keys(each.flops) : []));
  assert.equal(declared.sort(), native);
  // What the machine reaches is not computed from a formula.
  const referred = [...Object.keys(references), 'measure_peaks'];
  assert.equal(referred.sort(), native);
});

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
