/** Programs: ops that are recorded once and run again, on every device and on the emulation of CUDA's. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../lib/tensor/device.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { fails } from '../data/data-fixtures.js';
import { devices, emulated, type Labelled } from '../support/devices.js';

const LENGTH = 1024;

/** A tensor of activations that all have one value. */
function constant(device: Device, value: number): Tensor {
  using wide = device.full([LENGTH], value);
  const x = device.empty([LENGTH], device.activations);
  device.run('convert', { y: x, x: wide });
  return x;
}

const sum = (device: Device, a: Tensor, b: Tensor): Tensor => {
  const y = device.empty(a.shape, a.dtype);
  device.run('add', { y, a, b });
  return y;
};

/** Replaces what `to` holds. */
function set(to: Tensor, value: number): void {
  using x = constant(to.device, value);
  to.device.run('convert', { y: to, x });
}

/** The one value that all elements of a tensor have. */
async function onlyValue(tensor: Tensor): Promise<number> {
  const values = new Set(await tensor.read());
  assert.is(values.size, 1, `holds ${[...values].slice(0, 5).join(', ')}`);
  return [...values][0]!;
}

const integers = (device: Device, ...list: number[]) => device.tensor(Int32Array.from(list), [list.length]);

async function liveBytes(device: Device): Promise<number> {
  await device.synchronize();
  return device.memory().liveBytes;
}

function define(device: Labelled): void {
  const programs = suite(`programs on ${device.label}`);

  programs('ops run while they are recorded, and again on what the tensors hold then', async () => {
    using x = constant(device, 3);
    const { program, result: y } = device.record(() => sum(device, x, x));
    using _ = program;
    using __ = y;
    assert.is(await onlyValue(y), 6);
    for (const value of [5, -7, 11]) {
      set(x, value);
      program.run();
      assert.is(await onlyValue(y), 2 * value);
    }
    const launches = device.profile().program?.calls ?? 0;
    assert.is(launches, device.name === 'cpu' ? 0 : 3, 'on a GPU each run is one launch');
  });

  programs('tensors that end within a program share memory, which nobody else gets', async () => {
    using x = constant(device, 1);
    const before = await liveBytes(device);
    const { program, result } = device.record(() => {
      let y = sum(device, x, x);
      for (let i = 0; i < 5; i++) {
        using last = y;
        y = sum(device, last, x);
      }
      return y;
    });
    const held = (await liveBytes(device)) - before;
    assert.is(held, 2 * result.size * (device.activations === 'f32' ? 4 : 2), 'two tensors exist at once');

    const others = Array.from({ length: 4 }, () => constant(device, 99));
    set(x, 2);
    program.run();
    assert.is(await onlyValue(result), 14);
    for (const other of others) {
      assert.is(await onlyValue(other), 99);
      other.dispose();
    }
    result.dispose();
    program[Symbol.dispose]();
    program[Symbol.dispose]();
    assert.is(await liveBytes(device), before);
  });

  programs('a program keeps the tensors from outside that it reads and writes', async () => {
    const before = await liveBytes(device);
    const [x, y] = [constant(device, 4), device.empty([LENGTH], device.activations)];
    using result = y.share();
    const { program } = device.record(() => device.run('add', { y, a: x, b: x }));
    x.dispose();
    y.dispose();
    using other = constant(device, 50);
    set(result, 0);
    program.run();
    assert.is(await onlyValue(result), 8);
    assert.is(await onlyValue(other), 50);
    program.run();
    program[Symbol.dispose]();
    assert.is(await onlyValue(result), 8, 'runs that were queued before the end still count');
    result.dispose();
    other.dispose();
    assert.is(await liveBytes(device), before);
  });

  programs('what is uploaded while a program is recorded is a constant of it', async () => {
    using rows = integers(device, 1);
    const { program, result: y } = device.record(() => {
      using table = device.tensor(new Float32Array([10, 20, 30]), [1, 3, 1]);
      using weights = table.reshape(3, 1);
      const y = device.empty([1, 1, 1], device.activations);
      device.run('embedding_forward', { y, table: [weights], ids: rows, scale: 1 });
      return y;
    });
    using _ = program;
    using __ = y;
    assert.is(await onlyValue(y), 20);
    rows.write(new Int32Array([2]));
    using garbage = device.full([3], -1);
    program.run();
    assert.is(await onlyValue(y), 30);
    assert.is(await onlyValue(garbage), -1);
    await fails(() => rows.write(new Int32Array([1, 2])), 'BAD_SHAPE', /8 bytes came for a tensor of shape \[1\]/);
    await fails(
      () => rows.write(new Float32Array(1)),
      'BAD_OPTION',
      /Float32Array elements of 4 bytes came for .* i32/,
    );
  });

  programs('a constant shares no memory with what is computed', async () => {
    using x = device.full([LENGTH], 3);
    const copyOf = (from: Tensor) => {
      const y = device.empty(from.shape);
      device.run('convert', { y, x: from });
      return y;
    };
    const { program, result: y } = device.record(() => {
      copyOf(x).dispose();
      using ten = device.tensor(new Float32Array(LENGTH).fill(10), [LENGTH]);
      const y = copyOf(ten);
      ten.dispose();
      copyOf(x).dispose();
      return y;
    });
    using _ = program;
    using __ = y;
    for (let run = 0; run < 3; run++) {
      assert.is(await onlyValue(y), 10);
      program.run();
    }
    const write = () => device.record(() => device.empty([1]).write(new Float32Array(1)));
    await fails(write, 'BAD_OPTION', /computed by the program that is being recorded/);
  });

  programs('a fault spoils what depends on it, in that run alone', async () => {
    using rows = integers(device, 0);
    using x = constant(device, 7);
    using table = x.reshape(LENGTH, 1);
    const { program, result } = device.record(() => {
      const twice = device.empty([2, 1], device.activations);
      for (const half of [0, 1]) {
        using row = twice.slice(half);
        device.run('gather_rows', { y: row, x: table, rows });
      }
      return { row: twice, apart: sum(device, x, x) };
    });
    using _ = program;
    using row = result.row;
    using apart = result.apart;
    for (let run = 0; run < 3; run++) {
      set(x, run);
      rows.write(new Int32Array([LENGTH + run]));
      program.run();
      await fails(() => row.read(), 'BAD_SHAPE', new RegExp(`^gather_rows: rows\\[0\\] is ${LENGTH + run}`));
      assert.is(await onlyValue(apart), 2 * run);
      rows.write(new Int32Array([LENGTH - 1]));
      program.run();
      assert.is(await onlyValue(row), run);
    }
  });

  programs('a program outlives growing scratch memory', async () => {
    // Trained weights in f32 are copied into scratch memory for products in bf16.
    const linear = (width: number, weight: Tensor, x: Tensor) => {
      const y = device.empty([1, 8, width], device.activations);
      device.run('linear_forward', {
        y,
        x,
        weight: [weight],
        bias: undefined,
        residual: undefined,
      });
      return y;
    };
    const square = (width: number) => device.full([width, width], 1 / 8);
    const ones = (width: number) => {
      using wide = device.full([1, 8, width], 1);
      const x = device.empty([1, 8, width], device.activations);
      device.run('convert', { y: x, x: wide });
      return x;
    };
    using weight = square(16);
    using x = ones(16);
    const { program, result: y } = device.record(() => linear(16, weight, x));
    using _ = program;
    using __ = y;
    program.run();
    for (const width of [64, 256]) {
      using wider = square(width);
      using input = ones(width);
      using output = linear(width, wider, input);
      assert.is(await onlyValue(output), width / 8);
      program.run();
      program.run();
      assert.is(await onlyValue(y), 2);
    }
  });

  programs('a recording ends where its work fails, and does not nest', async () => {
    const before = await liveBytes(device);
    const work = () => {
      using y = device.empty([3]);
      void y;
      throw new Error('no');
    };
    assert.throws(() => device.record(work), /^no$/);
    await fails(() => device.record(() => device.record(() => {})), 'BAD_OPTION', /being recorded already/);
    assert.is(await liveBytes(device), before);
    using x = constant(device, 1);
    const { program } = device.record(() => sum(device, x, x).dispose());
    program[Symbol.dispose]();
    await fails(() => program.run(), 'DISPOSED', /a program was run after it or its device was disposed/);
  });

  programs.after(() => device.dispose());
  programs.run();
}

for (const device of devices()) define(device);
if (!process.env.BTS_TEST_DEVICES) for (const device of emulated()) define(device);
