/**
 * CUDA's kernels where there is no GPU: a few cases of every op, and what only the emulation can show. `npm run
 * test:cuda-emulation` runs all cases and whole models.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Device } from '../../lib/tensor/device.js';
import { fails } from '../data/data-fixtures.js';
import { allValues, type Case, run, withActivations } from '../support/case.js';
import { emulated as devices, openCpu } from '../support/devices.js';
import { Expectations, verify } from '../support/expectations.js';
import { cases, references } from '../support/op-test.js';

const CASES_OF_AN_OP = 3;

const emulated = suite('cuda-emulated');

/** Numbers that the case is about. */
const sizeOf = (test: Case) => allValues(test).reduce((size, { data }) => size + data.length, 0);

/** Cases of an op from the middle of its table, which are neither trivial nor long. */
function someOf(op: string): Case[] {
  const bySize = cases.filter((each) => each.op === op).sort((a, b) => sizeOf(a) - sizeOf(b));
  const first = Math.max(0, Math.floor((bySize.length - CASES_OF_AN_OP) / 2));
  return bySize.slice(first, first + CASES_OF_AN_OP);
}

/** The bytes of all tensors after the op, with threads and blocks in an order of their own. */
async function bytesWithSeed(device: Device, each: Case, seed: number): Promise<Uint8Array[]> {
  process.env.BTS_EMULATION_SEED = `${seed}`;
  try {
    return await run(device, each, (tensors) => Promise.all([...tensors.values()].map((tensor) => tensor.readBytes())));
  } finally {
    delete process.env.BTS_EMULATION_SEED;
  }
}

for (const device of devices()) {
  for (const op of Object.keys(references)) {
    const own = someOf(op).map((each) => withActivations(each, device.activations));

    emulated(`${device.label}: ${op} gives what its formula says`, async () => {
      for (const each of own) {
        await verify(device, `${op} ${each.label}`, each, new Expectations(each, device));
      }
    });

    emulated(`${device.label}: ${op} gives the same bytes in whatever order its threads run`, async () => {
      for (const each of own) {
        const first = await bytesWithSeed(device, each, 1);
        for (const seed of [2, 3]) {
          const other = await bytesWithSeed(device, each, seed);
          assert.ok(
            other.every((part, i) => Buffer.compare(part, first[i]!) === 0),
            `${op} ${each.label} differs`,
          );
        }
      }
    });
  }

  emulated(`${device.label}: integers that the host never had are an error`, async () => {
    using rows = device.empty([2], 'i32');
    using x = device.empty([3, 4], device.activations);
    using y = device.empty([2, 4], device.activations);
    device.run('gather_rows', { y, x, rows });
    await fails(() => y.read(), 'BAD_OPTION', /^gather_rows: integers must come from the host/);
  });

  emulated(`${device.label}: a tensor of another backend is refused`, async () => {
    using cpu = openCpu();
    using foreign = cpu.full([3], 1);
    await fails(() => device.run('fill', { y: foreign, value: 0 }), 'BAD_SHAPE', /'y' must be a tensor/);
  });

  emulated(`${device.label}: a GPU that is not there is NO_DEVICE`, async () => {
    await fails(() => Device.open('cuda-emulated:7'), 'NO_DEVICE', /GPU 7 cannot be used; there are 0: emulated/);
  });

  emulated(`${device.label}: peaks are measured, and time is told by op`, async () => {
    device.profile();
    const { flops, readBytes } = await device.measurePeaks();
    assert.ok(flops > 0 && readBytes > 0);
    const { calls, milliseconds } = device.profile().measure_peaks!;
    assert.is(calls, 1);
    assert.ok(milliseconds > 0);
  });

  emulated(`${device.label}: nothing is left in device memory`, () => {
    assert.is(device.memory().liveBytes, 0);
  });

  emulated.after(() => device.dispose());
}

emulated.run();
