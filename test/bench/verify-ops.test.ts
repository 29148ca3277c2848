/** Ops that a benchmark measures are compared with a CPU in f32; one that is wrong must not pass. */
import { suite } from 'uvu';
import { attention } from '../../bench/ops/attention.js';
import { elementwise } from '../../bench/ops/elementwise.js';
import { stitches } from '../../bench/ops/stitches.js';
import type { Work } from '../../bench/ops/work.js';
import { verifyOp } from '../../bench/verify-ops.js';
import { devices, openCpu } from '../support/devices.js';
import { refuses, replaced } from '../support/replaced.js';

const verification = suite('verification of ops');

const few = { rows: 32, members: 2, vocabulary: 64, matrices: 1 };
const find = (works: readonly Work[], name: string) => works.find((work) => work.name.startsWith(name))!;

for (const device of devices()) {
  verification(`${device.label}: right ops pass`, async () => {
    using cpu = openCpu();
    for (const work of [...attention(few), ...elementwise(few)]) await verifyOp(device, cpu, work);
    // Those of few rows read their weights alone, which takes the emulation long enough.
    await verifyOp(device, cpu, find(stitches({ ...few, rows: 1 }), 'hub_into_experts_forward scalar'));
  });

  verification(`${device.label}: an op that is a fiftieth off is noticed`, async () => {
    using cpu = openCpu();
    const rope = find(elementwise(few), 'rope');
    await replaced(
      device,
      'rope',
      ({ y, x, table, ...rest }, run) => {
        using off = device.empty(table[0]!.shape);
        run('convert', { y: off, x: table[0]! });
        run('add_scaled', { y: off, x: table[0]!, scale: 0.02 });
        run('rope', { y, x, table: table.map(() => off), ...rest });
      },
      () => refuses(() => verifyOp(device, cpu, rope), /rope/),
    );
  });
}

verification.run();
