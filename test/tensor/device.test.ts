/** Devices: their errors, their queue, their memory. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { stampOf, withFile } from '../../lib/base/file.js';
import { availableProcessors } from '../../lib/base/processors.js';
import { Random } from '../../lib/base/random.js';
import { Device } from '../../lib/tensor/device.js';
import type { OpArguments } from '../../lib/tensor/native-ops.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { fails } from '../data/data-fixtures.js';
import { emulated, openCpu } from '../support/devices.js';

interface Context {
  device: Device;
}

const close = ({ device }: Context) => device.dispose();
const open = (context: Context) => {
  context.device = openCpu();
};

const ids = (device: Device, ...list: number[]) => device.tensor(Int32Array.from(list), [list.length]);
const numbers = (device: Device, ...list: number[]) => device.tensor(Float32Array.from(list), [list.length]);

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** A tensor that an op failed to compute: row 9 of 2. */
function faulty(device: Device) {
  using rows = ids(device, 9);
  using x = device.full([2, 3], 0);
  const y = device.empty([1, 3]);
  device.run('gather_rows', { y, x, rows });
  return y;
}

const errors = suite<Context>('errors of a device');
errors.before.each(open);
errors.after.each(close);

errors('a device that this build lacks is NO_DEVICE', async () => {
  await fails(() => Device.open('gpu'), 'NO_DEVICE', /'gpu' is none of 'cpu', 'cuda'/);
  await fails(() => Device.open('cuda:x'), 'NO_DEVICE', /'cuda:x' is none of/);
  await fails(() => Device.open('cpu', { instructionSet: 'sse9' }), 'NO_DEVICE', /'sse9'.*generic/);
});

errors("'auto' says why it takes the CPU, and 'cuda' never takes it", async () => {
  using device = Device.open('auto');
  if (device.fallback === undefined) {
    assert.match(device.name, /^cuda:\d+$/);
    return;
  }
  assert.is(device.name, 'cpu');
  await fails(
    () => Device.open('cuda'),
    'NO_DEVICE',
    new RegExp(`^device 'cuda' cannot be used: ${escaped(device.fallback)}`),
  );
});

errors('threads are a whole number, and not far more than there are processors', async () => {
  const processors = availableProcessors();
  const most = Math.max(8, 4 * processors);
  const message = new RegExp(`^threads must be a whole number from 1 to ${most}, not .*${processors} processor`);
  for (const threads of [0, -1, 1.5, most + 1, 100_000, Number.NaN, Number.POSITIVE_INFINITY, '2' as never]) {
    for (const name of ['cpu', 'cuda', 'auto']) {
      await fails(() => Device.open(name, { threads }), 'BAD_OPTION', message);
    }
  }
  Device.open('cpu', { threads: most }).dispose();
});

errors('shapes that do not fit name the op and both shapes', async ({ device }) => {
  const a = device.full([2, 3], 1);
  const b = device.full([3, 2], 1);
  await fails(() => device.run('add', { y: a, a, b }), 'BAD_SHAPE', /^add: 'b' has shape \[3, 2\], expected \[2, 3\]/);
  const x = device.full([1, 4, 3], 1);
  const w = device.full([5, 7], 1);
  await fails(
    () => device.run('linear_forward', { y: x, x, weight: [w] } as never),
    'BAD_SHAPE',
    /^linear_forward: 'weight\[0\]' has shape \[5, 7\], expected \[O=5, I=3\]/,
  );
  await fails(
    () => device.run('linear_forward', { y: x, x, weight: [w, w] } as never),
    'BAD_SHAPE',
    /^linear_forward: 'weight.length' has shape \[2\], expected \[M=1\]/,
  );
  const heads = (count: number) => device.full([1, 1, 2, count, 4], 1);
  const attention = {
    out: heads(3),
    lse: undefined,
    q: heads(3),
    k: heads(2),
    v: heads(2),
    starts: undefined,
    window: 0,
    scale: 1,
    softcap: 0,
  };
  await fails(() => device.run('attention_forward', attention), 'BAD_SHAPE', /^attention_forward: .*multiple/);
});

errors('element types that do not fit are BAD_SHAPE', async ({ device }) => {
  const integers = ids(device, 1, 2);
  const floats = numbers(device, 1, 2);
  const half = device.tensor(new Uint16Array(2), [2], 'bf16');
  const y = device.full([2, 3], 0);
  await fails(
    () => device.run('gather_rows', { y, x: y, rows: floats }),
    'BAD_SHAPE',
    /^gather_rows: 'rows' holds f32, expected i32/,
  );
  await fails(
    () => device.run('add', { y: floats, a: floats, b: half }),
    'BAD_SHAPE',
    /^add: 'b' holds bf16, expected f32/,
  );
  await fails(() => device.run('convert', { y: floats, x: integers }), 'BAD_SHAPE', /^convert: .*floats/);
  await fails(
    () => device.run('global_norm', { norm: device.empty([1]), gradients: [half] }),
    'BAD_SHAPE',
    /^global_norm: 'gradients' must hold f32/,
  );
  await fails(() => integers.read(), 'BAD_OPTION', /expected a tensor of type f32 or bf16, it holds i32/);
  await fails(() => floats.readIntegers(), 'BAD_OPTION', /i32, it holds f32/);
});

errors('arguments that are no tensors, and ops that do not exist, are told', async ({ device }) => {
  const y = device.full([3], 0);
  for (const b of [undefined, null, 3, 'b', {}, [], new Float32Array(3), device]) {
    await fails(() => device.run('add', { y, a: y, b: b as never }), 'BAD_SHAPE', /'b' must be a tensor/);
  }
  for (const gradients of [undefined, null, y, {}]) {
    await fails(
      () => device.run('global_norm', { norm: y, gradients: gradients as never }),
      'BAD_SHAPE',
      /an array of/,
    );
  }
  await fails(() => device.run('no such op' as never, {} as never), 'BAD_OPTION', /there is no op 'no such op'/);
  await fails(() => device.run('add', undefined as never), 'BAD_OPTION', /an op's name and its arguments/);
});

errors('options outside their range are BAD_OPTION', async ({ device }) => {
  const y = device.full([3], 0);
  const dropout = (options: Partial<OpArguments['dropout']>) =>
    device.run('dropout', { y, x: y, rate: 0.5, seed: 1, ...options });
  for (const rate of [1, -0.1, Number.NaN, Number.POSITIVE_INFINITY]) {
    await fails(() => dropout({ rate }), 'BAD_OPTION', /'rate' must lie in \[0, 1\)/);
  }
  for (const seed of [-1, 0.5, 2 ** 53, Number.NaN, '7' as never, undefined as never]) {
    await fails(() => dropout({ seed }), 'BAD_OPTION', /^dropout: 'seed' must be a whole number from 0/);
  }
  await fails(() => device.run('fill', { y, value: '1' as never }), 'BAD_OPTION', /^fill: 'value' must be a number/);
});

errors('sizes that are no sizes are BAD_SHAPE, however large', async ({ device }) => {
  for (const size of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 41, '3' as never, undefined as never]) {
    await fails(() => device.empty([2, size]), 'BAD_SHAPE', /^a size in a shape must be a whole number/);
  }
  await fails(() => device.empty([2 ** 40, 2 ** 40]), 'BAD_SHAPE', /too large/);
  await fails(() => device.empty(new Array(9).fill(1)), 'BAD_SHAPE', /at most 8/);
  await fails(() => device.empty(3 as never), 'BAD_SHAPE', /array/);
  await fails(() => device.empty([2], 'f64' as never), 'BAD_OPTION', /'f64' is none of f32, f16, bf16, i32/);
  assert.is(device.memory().liveBytes, 0);
});

errors('data of another size than its tensor is refused and leaves nothing behind', async ({ device }) => {
  await fails(() => device.tensor(new Float32Array(5), [2, 3]), 'BAD_SHAPE', /20 bytes came for .*\[2, 3\].* 24/);
  await fails(() => device.tensor(new Float32Array(2), [2], 'bf16'), 'BAD_OPTION', /4 bytes came for .* bf16/);
  await fails(() => device.tensor(new Uint16Array(2), [2]), 'BAD_OPTION', /2 bytes came for .* f32/);
  await fails(() => device.full([3], 'x' as never), 'BAD_OPTION', /number/);
  await fails(() => device.load({ path: '/nowhere', offset: -1 }, [3], 'f32'), 'BAD_OPTION', /offset/);
  assert.is(device.memory().liveBytes, 0);
});

errors('a tensor that was disposed is DISPOSED everywhere', async ({ device }) => {
  const tensor = device.full([3], 1);
  const other = device.full([3], 1);
  tensor.dispose();
  tensor.dispose();
  assert.ok(tensor.disposed);
  for (const use of [
    () => tensor.read(),
    () => tensor.readBytes(),
    () => tensor.settled(),
    () => tensor.reshape(1, 3),
    () => tensor.share(),
    () => tensor.slice(0),
    () => device.run('fill', { y: tensor, value: 1 }),
    () => device.run('add', { y: other, a: other, b: tensor }),
  ]) {
    await fails(use, 'DISPOSED', /disposed/);
  }
});

errors('a device that was disposed is DISPOSED everywhere, and so are its tensors', async ({ device }) => {
  const tensor = device.full([3], 1);
  device.dispose();
  device.dispose();
  assert.ok(device.disposed);
  for (const use of [
    () => device.empty([3]),
    () => device.full([3], 1),
    () => device.tensor(new Float32Array(3), [3]),
    () => device.run('fill', { y: tensor, value: 1 }),
    () => device.synchronize(),
    () => device.memory(),
    () => device.trim(),
    () => tensor.read(),
    () => tensor.share(),
  ]) {
    await fails(use, 'DISPOSED', /disposed/);
  }
  tensor.dispose();
});

errors('a tensor of another device is refused', async ({ device }) => {
  using other = openCpu();
  const [own, foreign] = [device.full([3], 1), other.full([3], 1)];
  await fails(
    () => device.run('add', { y: own, a: own, b: foreign }),
    'BAD_OPTION',
    /^add: 'b' belongs to another device/,
  );
  await fails(() => device.run('fill', { y: foreign, value: 2 }), 'BAD_OPTION', /another device/);
  await fails(() => device.bytes(foreign), 'BAD_OPTION', /^read: .*another device/);
  assert.equal([...(await foreign.read())], [1, 1, 1]);
});

errors('an empty tensor is no special case', async ({ device }) => {
  const empty = device.tensor(new Float32Array(0), [0, 5]);
  assert.is((await empty.read()).length, 0);
  assert.is(empty.reshape(5, 0, 2).size, 0);
  assert.is(empty.slice(0, 0).size, 0);
  await fails(() => empty.slice(0), 'BAD_SHAPE', /0\.\.1 lies outside .*\[0,5\]/);
  await fails(() => empty.item(), 'BAD_SHAPE', /one element/);
});

errors.run();

const queue = suite<Context>('the queue of a device');
queue.before.each(open);
queue.after.each(close);

queue('what was uploaded does not change with its source', async ({ device }) => {
  const data = Float32Array.of(1, 2, 3);
  using tensor = device.tensor(data, [3]);
  data.fill(9);
  assert.equal([...(await tensor.read())], [1, 2, 3]);
});

queue('a part of a buffer is uploaded as that part', async ({ device }) => {
  using tensor = device.tensor(Float32Array.of(0, 1, 2, 3, 4).subarray(1, 4), [3]);
  assert.equal([...(await tensor.read())], [1, 2, 3]);
});

queue('what was read is a copy', async ({ device }) => {
  using tensor = device.full([3], 1);
  const before = await tensor.read();
  device.run('fill', { y: tensor, value: 2 });
  await device.synchronize();
  assert.equal([...before], [1, 1, 1]);
});

queue('work runs in the order in which it was queued', async ({ device }) => {
  using x = device.full([1], 0);
  const reads: Promise<number>[] = [];
  for (let value = 1; value <= 100; value++) {
    device.run('fill', { y: x, value });
    reads.push(x.item());
  }
  assert.equal(
    await Promise.all(reads),
    reads.map((_, i) => i + 1),
  );
});

queue('a failed op rejects the reads of what depends on it, and no others', async ({ device }) => {
  const y = faulty(device);
  const untouched = device.full([1, 3], 5);
  const dependent = device.empty([1, 3]);
  device.run('add', { y: dependent, a: untouched, b: y });
  const later = device.empty([1, 3]);
  device.run('add', { y: later, a: dependent, b: untouched });
  const reads = [y, dependent, later].map((tensor) =>
    fails(() => tensor.read(), 'BAD_SHAPE', /^gather_rows: rows\[0\]/),
  );
  await Promise.all(reads);
  await fails(() => later.settled(), 'BAD_SHAPE', /^gather_rows/);
  assert.equal([...(await untouched.read())], [5, 5, 5]);
  await device.synchronize();
});

queue('overwriting all of a tensor ends its fault, overwriting a part does not', async ({ device }) => {
  const y = faulty(device);
  const part = y.reshape(3).slice(0, 2);
  device.run('fill', { y: part, value: 4 });
  await fails(() => y.read(), 'BAD_SHAPE', /^gather_rows/);
  device.run('fill', { y, value: 4 });
  assert.equal([...(await y.read())], [4, 4, 4]);
  assert.equal([...(await part.read())], [4, 4]);
});

queue('memory of a failed tensor is used again without its fault', async ({ device }) => {
  faulty(device).dispose();
  for (let i = 0; i < 8; i++) assert.equal([...(await device.full([1, 3], i).read())], [i, i, i]);
});

queue('a failed gradient spoils neither weights nor moments', async ({ device }) => {
  const tensors = [1, 2, 3].map((value) => device.full([1, 3], value));
  const [parameter, first, second] = tensors;
  const norm = device.empty([1]);
  const bad = faulty(device);
  const gradients = [bad];
  device.run('global_norm', { norm, gradients });
  device.run('adamw', {
    parameters: [parameter!],
    gradients,
    firstMoments: [first!],
    secondMoments: [second!],
    norm,
    learningRate: 1,
    beta1: 0.9,
    beta2: 0.9,
    epsilon: 1e-8,
    weightDecay: 1,
    clipNorm: 1,
    step: 1,
  });
  await fails(() => norm.item(), 'BAD_SHAPE', /^gather_rows/);
  for (const [i, tensor] of tensors.entries()) assert.equal([...(await tensor.read())], new Array(3).fill(i + 1));
});

queue('disposing the device rejects the reads it did not get to', async ({ device }) => {
  const size = 500;
  const x = device.full([1, size, size], 0.01);
  const y = device.empty([1, size, size]);
  const weight = [device.full([size, size], 0.01)];
  const outcomes: Promise<ErrorCode | 'served'>[] = [];
  for (let i = 0; i < 40; i++) {
    device.run('linear_forward', { y, x, weight, bias: undefined, residual: undefined });
    outcomes.push(
      y.read().then(
        () => 'served',
        (error) => error.code,
      ),
    );
  }
  device.dispose();
  const codes = await Promise.all(outcomes);
  assert.is(codes.at(-1), 'DISPOSED');
  const served = codes.indexOf('DISPOSED');
  assert.ok(
    codes.every((code, i) => code === (i < served ? 'served' : 'DISPOSED')),
    `${codes}`,
  );
});

queue.run();

const memory = suite<Context>('the memory of a device');
memory.before.each(open);
memory.after.each(close);

const MiB = 2 ** 20;

memory('tells how much there is, of the host or of its own, and refuses what cannot be', async ({ device }) => {
  for (const each of [device, ...emulated()]) {
    assert.ok(each.memoryBytes > 2 ** 28, `${each.memoryBytes}`);
    assert.ok(each.availableBytes > 0 && each.availableBytes <= each.memoryBytes, `${each.availableBytes}`);
    each.expectRoom(2 ** 20, 'little');
    const whose = each === device ? /this process may use/ : /'cuda-emulated:\S+' has/;
    await fails(() => each.expectRoom(2 ** 60, 'too much'), 'OUT_OF_MEMORY', whose);
    if (each !== device) each.dispose();
  }
});

memory('counts what is live, what was at once, and what is held', ({ device }) => {
  assert.equal(device.memory(), { liveBytes: 0, peakBytes: 0, reservedBytes: 0 });
  const a = device.empty([MiB / 4]);
  const b = device.empty([MiB / 2], 'bf16');
  const { reservedBytes, ...counted } = device.memory();
  assert.equal(counted, { liveBytes: 2 * MiB, peakBytes: 2 * MiB });
  assert.ok(reservedBytes >= 2 * MiB);
  a.dispose();
  assert.equal(device.memory({ resetPeak: true }), { liveBytes: MiB, peakBytes: 2 * MiB, reservedBytes });
  assert.is(device.memory().peakBytes, MiB);
  b.dispose();
  device.trim();
  assert.equal(device.memory(), { liveBytes: 0, peakBytes: MiB, reservedBytes: 0 });
});

memory('of tensors of one size serves those of another, in any order of their ends', async ({ device }) => {
  const random = new Random(7, 'blocks');
  const live: { tensor: Tensor; value: number }[] = [];
  let most = 0;
  for (let i = 0; i < 2000; i++) {
    if (live.length < 24 && random.uniform() < 0.55) {
      const size = Math.ceil(2 ** (random.uniform() * 20));
      live.push({ tensor: device.full([size], i), value: i });
    } else if (live.length > 0) {
      const [{ tensor, value }] = live.splice(Math.floor(random.uniform() * live.length), 1) as [(typeof live)[0]];
      if (i % 10 === 0) assert.ok((await tensor.read()).every((x) => x === value));
      tensor.dispose();
    }
    most = Math.max(most, device.memory().reservedBytes);
  }
  for (const { tensor, value } of live) {
    assert.ok((await tensor.read()).every((x) => x === value));
    tensor.dispose();
  }
  const { peakBytes } = device.memory();
  assert.ok(peakBytes > 16 * MiB && most < peakBytes + 64 * MiB, `${most} held for ${peakBytes}`);
  device.trim();
  assert.equal(device.memory(), { liveBytes: 0, peakBytes, reservedBytes: 0 });
});

memory('is used again, so that a repeated step holds no more than the first', ({ device }) => {
  const step = () => {
    using a = device.full([1000, 70], 1);
    using b = device.full([1000, 70], 2);
    using y = device.empty([1000, 70]);
    using rest = device.empty([33], 'f16');
    device.run('add', { y, a, b });
    assert.ok(rest);
  };
  step();
  const { reservedBytes, peakBytes } = device.memory();
  for (let i = 0; i < 200; i++) step();
  assert.equal(device.memory(), { liveBytes: 0, peakBytes, reservedBytes });
});

memory('wastes at most an eighth of a tensor', ({ device }) => {
  for (const size of [129, 1000, 4097, 100_003, 1_000_001, 2 ** 22 + 1]) {
    using tensor = device.empty([size]);
    const { liveBytes } = device.memory();
    assert.ok(liveBytes >= 4 * tensor.size && liveBytes <= (4 * tensor.size * 9) / 8 + 64, `${liveBytes} for ${size}`);
  }
});

memory('of views lives as long as the last of them', async ({ device }) => {
  const base = device.tensor(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]);
  const row = base.slice(1);
  const flat = base.reshape(6);
  const again = row.share();
  base.dispose();
  flat.dispose();
  row.dispose();
  row.dispose();
  device.full([6], 9).dispose();
  assert.equal([...(await again.read())], [3, 4]);
  assert.ok(device.memory().liveBytes > 0);
  again.dispose();
  assert.is(device.memory().liveBytes, 0);
});

memory('is shared by views', async ({ device }) => {
  using base = device.full([3, 2], 0);
  using row = base.slice(1);
  device.run('fill', { y: row, value: 7 });
  assert.equal([...(await base.read())], [0, 0, 7, 7, 0, 0]);
  await fails(() => base.reshape(4), 'BAD_SHAPE', /\[3,2\] cannot be reshaped to \[4\]/);
  assert.throws(() => row.native.view([3], 0), /does not fit into a tensor of shape \[1, 2\]/);
  assert.throws(() => row.native.view([1], 2), /does not fit into a tensor of shape \[1, 2\]/);
  await fails(() => base.slice(2, 4), 'BAD_SHAPE', /2\.\.4 lies outside/);
});

memory('that is not there is OUT_OF_MEMORY, and the device goes on', async ({ device }) => {
  await fails(() => device.empty([2 ** 38]), 'OUT_OF_MEMORY', /1099511627776 bytes were asked for beside \d+ in use/);
  assert.is(device.memory().liveBytes, 0);
  assert.is(await device.full([1], 3).item(), 3);
});

memory('that was handed out but not written yet is not there twice', async ({ device }) => {
  const quarter = Math.floor(totalmem() / 4 / 4);
  await fails(
    () => {
      for (let i = 0; i < 5; i++) device.empty([quarter]);
    },
    'OUT_OF_MEMORY',
    /bytes were asked for/,
  );
});

memory('that is free beside what is in use goes back to the system when it is asked for', async ({ device }) => {
  using kept = device.full([MiB / 4], 1);
  const gone = device.full([6 * MiB], 1);
  const { reservedBytes } = device.memory();
  await device.synchronize();
  const { rss } = process.memoryUsage();
  gone.dispose();
  device.trim();
  assert.is(device.memory().reservedBytes, reservedBytes, 'both lie in one segment');
  assert.ok(rss - process.memoryUsage().rss > 20 * MiB);
  assert.ok((await kept.read()).every((x) => x === 1));
});

memory('is all given back when the device is disposed, whatever is still alive', ({ device }) => {
  const tensor = device.full([64 * MiB], 1);
  device.trim();
  const { rss } = process.memoryUsage();
  device.dispose();
  assert.ok(rss - process.memoryUsage().rss > 200 * MiB);
  tensor.dispose();
});

memory('of tensors that nobody holds any more is given back', async () => {
  const script = `
    import { Device } from './lib/tensor/device.ts';
    const device = Device.open('cpu');
    for (let i = 0; i < 50; i++) device.full([1000], i).reshape(10, 100);
    for (let i = 0; i < 100 && device.memory().liveBytes > 0; i++) {
      gc();
      await new Promise(setImmediate);
    }
    process.stdout.write('live: ' + device.memory().liveBytes);`;
  const options = ['--expose-gc', '--import', 'tsx', '--input-type=module', '--eval', script];
  const { stdout } = await promisify(execFile)(process.execPath, options);
  assert.is(stdout, 'live: 0');
});

memory.run();

const files = suite<Context & { folder: string; path: string }>('loading from files');
files.before.each(async (context) => {
  open(context);
  context.folder = await mkdtemp(join(tmpdir(), 'bts-device-'));
  context.path = join(context.folder, 'numbers');
  await writeFile(context.path, Float32Array.of(0, 1, 2, 3));
});
files.after.each(async (context) => {
  close(context);
  await rm(context.folder, { recursive: true });
});

files('reads from an offset', async ({ device, path }) => {
  assert.equal([...(await device.load({ path, offset: 4 }, [3], 'f32').read())], [1, 2, 3]);
  assert.is((await device.load({ path, offset: 16 }, [0], 'f32').read()).length, 0);
});

files('what cannot be read rejects the next read', async ({ device, folder, path }) => {
  const missing = device.load({ path: join(folder, 'nothing'), offset: 0 }, [3], 'f32');
  await fails(() => missing.read(), 'FILE_NOT_FOUND', /^reading: '.*nothing' does not exist/);
  await fails(
    () => device.load({ path: folder, offset: 0 }, [3], 'f32').read(),
    'FILE_IO',
    /^reading: '.*' failed with EISDIR/,
  );
  await fails(
    () => device.load({ path, offset: 8 }, [3], 'f32').read(),
    'BAD_CHECKPOINT',
    /numbers' ends 4 bytes early/,
  );
  await fails(() => device.load({ path, offset: 2 ** 50 }, [3], 'f32').read(), 'BAD_CHECKPOINT', /ends 12 bytes early/);
  await fails(() => device.load({ path, offset: 0 }, [2 ** 20], 'f32').settled(), 'BAD_CHECKPOINT', /early/);
});

files('what changes once it was opened is refused', async ({ device, path }) => {
  const stamp = await withFile(path, (file) => stampOf(file));
  const load = () => device.load({ path, offset: 4, stamp }, [3], 'f32').read();
  assert.equal([...(await load())], [1, 2, 3]);
  await utimes(path, 1e9, 1e9);
  await fails(load, 'BAD_CHECKPOINT', /numbers' was changed while it was read: wait until it is written/);
});

files.run();
