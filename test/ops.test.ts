/**
 * Every op of native/ops.h on every device against a reference in f64. The error allowed is twice that of a naive f32
 * computation of the same formula.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attention } from './ops/attention.js';
import { elementwise } from './ops/elementwise.js';
import { linear } from './ops/linear.js';
import { mix } from './ops/mix.js';
import { optimizer } from './ops/optimizer.js';
import { rows } from './ops/rows.js';
import { stitch } from './ops/stitch.js';
import { devices } from './support/devices.js';
import { Expectations, references, verify } from './support/reference-case.js';

const cases = [...linear, ...attention, ...rows, ...stitch, ...mix, ...elementwise, ...optimizer];
const opened = [...devices()];

for (const op of Object.keys(references)) {
  const own = cases.filter((each) => each.op === op);

  test(`${op} gives what its formula says`, async () => {
    assert.ok(own.length > 0, 'no case calls it');
    for (const each of own) {
      const expected = new Expectations(each);
      for (const device of opened) await verify(device, `${device.label}: ${op} ${each.label}`, each, expected);
    }
  });
}

test.after(() => {
  for (const device of opened) device.dispose();
});

test.run();
