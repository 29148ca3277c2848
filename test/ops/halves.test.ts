/** Every f16 and bf16 number there is. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { devices } from '../support/devices.js';
import { decode } from '../support/reference-halves.js';

const all = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);

for (const device of devices()) {
  for (const dtype of ['f16', 'bf16'] as const) {
    test(`${device.label}: every ${dtype} widens to its value and narrows back to its bits`, async () => {
      using halves = device.tensor(all, [all.length], dtype);
      using wide = device.empty([all.length]);
      using back = device.empty([all.length], dtype);
      device.run('convert', { y: wide, x: halves });
      device.run('convert', { y: back, x: wide });
      const values = await wide.read();
      const bits = new Uint16Array((await back.readBytes()).buffer);
      all.forEach((half, i) => {
        const expected = decode(half, dtype);
        assert.ok(Object.is(values[i], expected), `${half.toString(16)} became ${values[i]}, it is ${expected}`);
        // A NaN may lose its message, not its nature.
        const same = Number.isNaN(expected) ? Number.isNaN(decode(bits[i]!, dtype)) : bits[i] === half;
        assert.ok(same, `${half.toString(16)} came back as ${bits[i]!.toString(16)}`);
      });
    });
  }

  test.after(() => device.dispose());
}

test.run();
