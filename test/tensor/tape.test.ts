/** What is recorded, how gradients add up, and what is freed when. Values are small integers, so sums are exact. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../lib/tensor/device.js';
import { attention, crossEntropy, embedding, linear, rmsNorm, sum, swiglu } from '../../lib/tensor/ops/index.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';

interface Context {
  device: Device;
  /** [2, 3]: two rows to look up. */
  table: Parameter;
  /** [3, 3], frozen */
  a: Parameter;
  b: Parameter;
  /** [3], frozen */
  norm: Parameter;
  ids: Tensor;
}

const values = {
  table: [1, 2, 3, 4, 5, 6],
  a: [1, 0, 2, 0, 3, 0, -1, 0, 1],
  b: [0, 1, 0, 2, 0, -2, 0, 4, 0],
};
/** Column sums of a and b: what reaches the input of a layer whose outputs all count once. */
const [sumsOfA, sumsOfB] = [
  [0, 3, 3],
  [2, 5, -2],
];

const tape = suite<Context>('the tape');

tape.before.each((context) => {
  const device = openCpu();
  const tensor = (data: number[], ...shape: number[]) => device.tensor(Float32Array.from(data), shape);
  Object.assign(context, {
    device,
    table: Parameter.trainable(device, 'table', tensor(values.table, 2, 3)),
    a: new Parameter('a', tensor(values.a, 3, 3)),
    b: new Parameter('b', tensor(values.b, 3, 3)),
    norm: new Parameter('norm', tensor([1, 1, 1], 3)),
    ids: device.tensor(Int32Array.of(0, 1), [2]),
  });
});
tape.after.each(({ device }) => device.dispose());

/** The sum of all elements, as the loss. */
const total = (scope: Scope, y: Tensor) => sum(scope, scope.track(y.reshape(y.size)), 1);
const gradient = async (parameter: Parameter) => [...(await parameter.gradient!.read())];
const twice = (row: number[]) => [...row, ...row];
const added = (...rows: number[][]) => rows[0]!.map((_, i) => rows.reduce((total, row) => total + row[i]!, 0));

tape('takes the gradient of a chain', async ({ device, table, a, b, ids }) => {
  using scope = Scope.recording(device);
  const x = embedding(scope, [table], ids);
  const loss = total(scope, linear(scope, linear(scope, x, [a]), [b]));
  scope.backward(loss);
  // (2, 5, -2) a
  assert.equal(await gradient(table), twice([4, 15, 2]));
  assert.is(await loss.item(), 4 * 1 + 15 * 2 + 2 * 3 + 4 * 4 + 15 * 5 + 2 * 6);
});

tape('adds up what reaches a value along a residual', async ({ device, table, a, ids }) => {
  using scope = Scope.recording(device);
  const x = embedding(scope, [table], ids);
  scope.backward(total(scope, linear(scope, x, [a], { residual: x })));
  assert.equal(await gradient(table), twice(added(sumsOfA, [1, 1, 1])));
});

tape(
  'adds up what reaches a value that is used several times, views included',
  async ({ device, table, a, b, ids }) => {
    using scope = Scope.recording(device);
    const x = embedding(scope, [table], ids);
    const view = scope.track(x.reshape(1, 2, 3));
    const left = linear(scope, x, [a], { residual: linear(scope, view, [b]) });
    const y = linear(scope, x, [a], { residual: left });
    scope.backward(total(scope, y));
    assert.equal(await gradient(table), twice(added(sumsOfA, sumsOfA, sumsOfB)));
  },
);

tape('adds up both gradients of an op that receives a value twice', async ({ device, table, ids }) => {
  const separate = async (same: boolean) => {
    device.run('fill', { y: table.gradient!, value: 0 });
    using copy = Parameter.trainable(device, 'copy', table.value.share());
    using scope = Scope.recording(device);
    const x = embedding(scope, [table], ids);
    const other = same ? x : embedding(scope, [copy], ids);
    scope.backward(total(scope, swiglu(scope, x, other)));
    return same ? gradient(table) : added(await gradient(table), await gradient(copy));
  };
  assert.equal((await separate(true)).map(Math.fround), (await separate(false)).map(Math.fround));
});

tape(
  'adds up the gradients of a parameter that is used twice, as tied embeddings are',
  async ({ device, table, ids }) => {
    const run = (head: Parameter) => {
      device.run('fill', { y: table.gradient!, value: 0 });
      using scope = Scope.recording(device);
      const logits = linear(scope, embedding(scope, [table], ids), [head]);
      scope.backward(total(scope, logits));
      return gradient(table);
    };
    const head = Parameter.trainable(device, 'head', table.value.share());
    assert.equal(await run(table), added(await run(head), await gradient(head)));
    // Each row of the head receives the sum of the inputs, each input the sum of the head's rows.
    assert.equal(await gradient(head), twice([5, 7, 9]));
  },
);

tape('adds to the gradients that are there', async ({ device, table, a, ids }) => {
  for (let i = 0; i < 3; i++) {
    using scope = Scope.recording(device);
    scope.backward(total(scope, linear(scope, embedding(scope, [table], ids), [a])));
  }
  assert.equal(await gradient(table), twice(sumsOfA.map((x) => 3 * x)));
});

tape('goes only where the loss depends', async ({ device, table, a, b, ids }) => {
  const idle = Parameter.trainable(device, 'idle', device.full([3, 3], 1));
  const before = [await a.value.readBytes(), await b.value.readBytes(), await table.value.readBytes()];
  using scope = Scope.recording(device);
  const x = embedding(scope, [table], ids);
  linear(scope, x, [idle]);
  scope.backward(total(scope, linear(scope, x, [a])));
  assert.equal(await gradient(idle), new Array(9).fill(0));
  assert.equal(await gradient(table), twice(sumsOfA));
  assert.equal([await a.value.readBytes(), await b.value.readBytes(), await table.value.readBytes()], before);
});

/** A little of everything, over weights that are all given. */
function network(scope: Scope, weight: Parameter, { a, b, norm, ids }: Context): Tensor {
  using inner = scope.inner();
  const x = embedding(inner, [weight], ids);
  const y = rmsNorm(inner, x, [norm], { epsilon: 1e-5 });
  const heads = (w: Parameter) => inner.track(linear(inner, y, [w]).reshape(1, 1, 2, 1, 3));
  const mixed = attention(inner, heads(a), heads(b), heads(a), { window: 0 });
  const z = linear(inner, inner.track(mixed.reshape(1, 2, 3)), [b], { residual: x });
  const logits = inner.track(swiglu(inner, z, y).reshape(2, 3));
  return inner.leave(sum(inner, crossEntropy(inner, logits, ids), 0.5));
}

tape('records nothing where all weights are frozen', async (context) => {
  const { device, table } = context;
  const frozen = new Parameter('frozen', table.value);
  const bytes = (scope: Scope) => {
    using loss = network(scope, frozen, context);
    assert.is(loss.node, undefined);
    scope.backward(loss);
    return device.memory().liveBytes;
  };
  using recording = Scope.recording(device);
  using inference = Scope.inference(device);
  const held = bytes(recording);
  assert.is(held, bytes(inference));
  assert.equal(await gradient(table), new Array(6).fill(0));
});

tape('keeps what the backward needs until then, and no longer', async (context) => {
  const { device, table } = context;
  const before = device.memory().liveBytes;
  using scope = Scope.recording(device);
  const loss = network(scope, table, context);
  const recorded = device.memory().liveBytes;
  scope.backward(loss);
  const after = device.memory().liveBytes;
  assert.ok(recorded > after, 'nothing was kept');
  loss.dispose();
  assert.is(device.memory().liveBytes, before);
  assert.ok((await gradient(table)).some((x) => x !== 0));
});

tape('is freed with its scope when no gradient was taken', (context) => {
  const { device, table } = context;
  const before = device.memory().liveBytes;
  {
    using scope = Scope.recording(device);
    network(scope, table, context);
    assert.ok(device.memory().liveBytes > before);
  }
  assert.is(device.memory().liveBytes, before);
});

tape('is freed where the backward fails', async (context) => {
  const { device, table, a } = context;
  const before = device.memory().liveBytes;
  using frozen = new Parameter('a', a.value.share());
  {
    using scope = Scope.recording(device);
    const loss = network(scope, table, { ...context, a: frozen });
    frozen.value.dispose();
    await fails(() => scope.backward(loss), 'DISPOSED', /'weight\[0\]' was used after/);
  }
  assert.is(device.memory().liveBytes, before);
});

tape('a second backward does nothing', async (context) => {
  const { device, table } = context;
  using scope = Scope.recording(device);
  const loss = network(scope, table, context);
  scope.backward(loss);
  const once = await gradient(table);
  scope.backward(loss);
  assert.equal(await gradient(table), once);
});

tape('a scope for inference records nothing and takes no gradient', async (context) => {
  const { device, table } = context;
  using scope = Scope.inference(device);
  const loss = network(scope, table, context);
  assert.is(loss.node, undefined);
  scope.backward(loss);
  assert.equal(await gradient(table), new Array(6).fill(0));
});

tape('a fault in the forward reaches the gradients, and zeroing them ends it', async (context) => {
  const { device, table } = context;
  using scope = Scope.recording(device);
  const ids = device.tensor(Int32Array.of(0, 2), [2]);
  scope.backward(network(scope, table, { ...context, ids }));
  await fails(() => table.gradient!.read(), 'BAD_TOKEN', /^embedding_forward: ids\[1\] is 2/);
  assert.equal([...(await table.value.read())], values.table);
  device.run('fill', { y: table.gradient!, value: 0 });
  assert.equal(await gradient(table), new Array(6).fill(0));
});

tape.run();
