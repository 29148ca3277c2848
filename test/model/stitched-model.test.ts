import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import { Tensor } from '../../lib/tensor/tensor.js';
import { fails } from '../data/data-fixtures.js';
import { close, difference, liveBytes, runOutOfMemory } from '../support/models.js';
import { stitchedModels } from '../support/stitched-models.js';

const stitched = suite('stitched model');
const { device, hub, experts, ids, batch, newFolder, create, createRandom, save, train } = stitchedModels(stitched);

async function loss(model: StitchedModel, seed?: number): Promise<number> {
  if (seed === undefined) return model.loss(batch);
  using scope = Scope.recording(device);
  return await model.trainingLoss(scope, batch, 13, seed).item();
}

/** Gradients of the mean loss for every trained weight. */
async function gradients(
  model: StitchedModel,
  seed = 0,
  keep = Number.POSITIVE_INFINITY,
): Promise<Map<string, Float32Array>> {
  for (const { gradient } of model.trainable) device.run('fill', { y: gradient!, value: 0 });
  using scope = Scope.recording(device, { keep });
  scope.backward(model.trainingLoss(scope, batch, 13, seed));
  const found = new Map<string, Float32Array>();
  for (const { name, gradient } of model.trainable) found.set(name, await gradient!.read());
  return found;
}

async function hashFolder(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(join(folder, name)));
  return hash.digest('hex');
}

// What stitch 0 gives the experts reaches the last stitch past another one.
const TWO_MERGES = [
  { afterLayer: 1, kind: 'hub_into_experts' },
  { afterLayer: 2, kind: 'experts_into_hub' },
  { afterLayer: 3, kind: 'experts_into_hub' },
] as const;

const variants: Record<string, Partial<StitchOptions>> = {
  'as it is by default': {},
  'with one expert': { experts: { code: experts.code } },
  'with a scalar gate': { gate: 'scalar' },
  'with a gate bias': { init: 'hub' },
  'with a scalar gate and its bias': { gate: 'scalar', init: 'hub' },
  'with experts unchanged': { alternate: false, expertsAfterMerge: 'unchanged' },
  'with all stitches into the hub': { alternate: false },
  'with a single stitch': { stitches: 1 },
  'with layers of the hub alone at the end': {
    plan: [
      { afterLayer: 1, kind: 'hub_into_experts' },
      { afterLayer: 2, kind: 'experts_into_hub' },
    ],
  },
  'with two merges behind each other': { plan: TWO_MERGES },
  'with two merges behind each other and experts unchanged': { plan: TWO_MERGES, expertsAfterMerge: 'unchanged' },
  'with dropout': { dropout: 0.3 },
  'of low rank': { rank: 5 },
  'of low rank with a gate bias and dropout': { rank: 3, init: 'hub', dropout: 0.3 },
  'of low rank with a scalar gate and experts unchanged': {
    ...{ rank: 15, gate: 'scalar', alternate: false, expertsAfterMerge: 'unchanged' },
  },
};

for (const [name, options] of Object.entries(variants)) {
  stitched(`${name}: what is saved and loaded is the same model, to the bit`, async () => {
    using model = await createRandom(options);
    const logits = await model.logits(ids, 2);
    assert.ok(logits.every(Number.isFinite));
    const folder = await save(model);
    for (const trainable of [false, true]) {
      using loaded = await StitchedModel.load(device, folder, { trainable });
      assert.equal(loaded.manifest, model.manifest);
      assert.equal(await loaded.logits(ids, 2), logits);
      assert.equal(
        loaded.trainable.map((p) => p.name),
        trainable ? model.trainable.map((p) => p.name) : [],
      );
      assert.is(await hashFolder(await save(loaded)), await hashFolder(folder));
    }
  });

  stitched(`${name}: gradients are the slopes of the loss`, async () => {
    using model = await createRandom(options);
    const seed = options.dropout ? 11 : undefined;
    const found = await gradients(model, seed ?? 0);
    for (const parameter of model.trainable) {
      const gradient = found.get(parameter.name)!;
      const slope = await slopeAlong(model, parameter, gradient, seed);
      const want = Math.hypot(...gradient);
      assert.ok(want > 0, `${parameter.name} has a gradient`);
      assert.ok(Math.abs(slope / want - 1) < 5e-3, `${parameter.name}: the slope is ${slope}, the gradient ${want}`);
    }
  });

  stitched(`${name}: logits through a cache are those computed from scratch`, async () => {
    using model = await createRandom(options);
    using cache = model.createCache(2, 7);
    const V = model.config.vocabularySize;
    const whole = await model.logits(ids, 2);
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 7],
    ] as const) {
      const got = await model.extend(cache, [...ids.subarray(from, to), ...ids.subarray(7 + from, 7 + to)]);
      for (const b of [0, 1]) {
        const row = (b * 7 + to - 1) * V;
        close(got.subarray(b * V, (b + 1) * V), whole.subarray(row, row + V), 1e-5, `row ${to} of ${b}`);
      }
    }
  });

  stitched(`${name}: gates share out the whole into the hub, and are a share of the experts'`, async () => {
    using model = await createRandom(options);
    const M = model.memberNames.length;
    const G = options.gate === 'scalar' ? 1 : model.config.width;
    const traces = await model.trace(ids, 2, { hidden: true });
    assert.equal(
      traces.map(({ placement }) => placement),
      model.manifest.plan,
    );
    for (const { placement, gates, hidden } of traces) {
      assert.is(gates.length, ids.length * M * G);
      assert.equal(
        hidden.map((h) => h.length),
        Array(M).fill(ids.length * model.config.width),
      );
      for (let n = 0; n < ids.length; n++) {
        for (let g = 0; g < G; g++) {
          const shares = Array.from({ length: M }, (_, m) => gates[(n * M + m) * G + g]!);
          if (placement.kind === 'experts_into_hub') {
            assert.ok(Math.abs(shares.reduce((sum, share) => sum + share) - 1) < 1e-6);
          } else assert.is(shares.shift(), 0);
          assert.ok(shares.every((share) => share > 0 && share < 1));
        }
      }
    }
  });
}

/** The derivative of the loss along a unit vector, by differences of fourth order. */
async function slopeAlong(
  model: StitchedModel,
  { value }: Parameter,
  direction: Float32Array,
  seed: number | undefined,
): Promise<number> {
  const start = await value.read();
  const length = Math.hypot(...direction);
  const h = 0.004;
  const lossAt = async (step: number) => {
    using moved = device.tensor(
      start.map((v, i) => v + (step * direction[i]!) / length),
      value.shape,
    );
    device.run('convert', { y: value, x: moved });
    return await loss(model, seed);
  };
  const [a, b, c, d] = [await lossAt(-2 * h), await lossAt(-h), await lossAt(h), await lossAt(2 * h)];
  await lossAt(0);
  return (a - 8 * b + 8 * c - d) / (12 * h);
}

stitched("with init 'hub' the untrained model is the hub", async () => {
  using alone = await DenseModel.load(device, hub);
  const want = await alone.logits(ids, 2);
  for (const gate of ['channel', 'scalar'] as const) {
    using model = await create({ init: 'hub', gate });
    close(await model.logits(ids, 2), want, 1e-4, 'logits');
    using uniform = await create({ gate });
    assert.ok(difference(await uniform.logits(ids, 2), want) > 0.1, 'the experts would be heard');
    for (const [name, gradient] of await gradients(model)) {
      assert.ok(Math.hypot(...gradient) > 0, `${name} can be trained from there`);
    }
  }
});

stitched('identical copies of the hub, weighing the same, are the hub', async () => {
  using alone = await DenseModel.load(device, hub);
  using model = await create({ experts: { a: hub, b: hub, c: hub } });
  close(await model.logits(ids, 2), await alone.logits(ids, 2), 1e-5, 'logits');
});

stitched('training changes every stitch and no file of a member', async () => {
  const files = async () => Promise.all([hub, ...Object.values(experts)].map(hashFolder));
  const before = await files();
  using model = await create();
  const was = await Promise.all(model.trainable.map(({ value }) => value.read()));
  const first = await loss(model);
  await train(model, 3);
  assert.ok((await loss(model)) < first, 'the loss falls');
  for (const [i, { name, value }] of model.trainable.entries()) {
    assert.ok(
      (await value.read()).some((v, j) => v !== was[i]![j]),
      `${name} was trained`,
    );
  }
  const folder = await save(model);
  assert.equal(await files(), before);
  assert.equal((await readdir(folder)).sort(), [
    'bts.json',
    'stitch.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  using loaded = await StitchedModel.load(device, folder);
  assert.equal(await loaded.logits(ids, 2), await model.logits(ids, 2));
});

stitched('only stitches can be trained, under the names and shapes of the format', async () => {
  using model = await create({ init: 'hub' });
  const [M, C] = [3, model.config.width];
  assert.equal(
    model.trainable.map(({ name, value }) => [name, value.shape]),
    [0, 1, 2].flatMap((s) => [
      [`stitch.${s}.gate.weight`, [M, C, C]],
      [`stitch.${s}.gate.bias`, [M, C]],
      [`stitch.${s}.proj.0.weight`, [C, C]],
      [`stitch.${s}.proj.1.weight`, [C, C]],
    ]),
  );
  assert.equal(model.memberNames, ['hub', 'code', 'math']);
});

stitched('untrained stitches of low rank compute what those of full rank do, and differ by their seed', async () => {
  for (const options of [{}, { init: 'hub' }, { gate: 'scalar', alternate: false }] as const) {
    using full = await create(options);
    using low = await create({ ...options, rank: 5 });
    close(await low.logits(ids, 2), await full.logits(ids, 2), 1e-5, 'logits');
  }
  const random = async (seed?: number) => {
    using model = await create({ rank: 5, ...(seed !== undefined && { seed }) });
    const down = model.trainable.filter(({ name }) => name.includes('down'));
    return (await Promise.all(down.map(({ value }) => value.read()))).flatMap((all) => [...all]);
  };
  const numbers = await random();
  assert.is(new Set(numbers).size, numbers.length, 'members, experts and stitches begin differently');
  assert.equal(await random(0), numbers);
  assert.not.equal(await random(1), numbers);
});

stitched('dropout is of training alone, and the same for the same seed', async () => {
  using model = await createRandom({ dropout: 0.5 });
  using without = await createRandom({ dropout: 0 });
  assert.is(await loss(model), await loss(without));
  assert.is(await loss(without, 1), await loss(without, 2));
  const [first, again, other] = [await loss(model, 1), await loss(model, 1), await loss(model, 2)];
  assert.is(first, again);
  assert.is.not(first, other);
  assert.is.not(first, await loss(without, 1));
  assert.equal(await gradients(model, 1), await gradients(model, 1));
});

stitched('gradients are the same to the bit where layers are computed again, with less memory', async () => {
  using model = await createRandom({ dropout: 0.5 });
  const measured = async (keep: number) => {
    device.memory({ resetPeak: true });
    const found = await gradients(model, 1, keep);
    return { found, peak: device.memory().peakBytes };
  };
  const [all, none] = [await measured(Number.POSITIVE_INFINITY), await measured(0)];
  assert.equal(none.found, all.found);
  assert.ok(none.peak < all.peak, `${none.peak} bytes, ${all.peak} where all is kept`);
  const half = Math.floor((all.peak - none.peak) / 2);
  const some = await measured(half);
  assert.equal(some.found, all.found);
  assert.ok(
    some.peak > none.peak && some.peak <= none.peak + half,
    `${some.peak}: ${none.peak} and at most ${half} more`,
  );
});

/** The ops that run meanwhile, with their arguments. */
async function opsOf(use: () => Promise<unknown>) {
  const { run } = device;
  // biome-ignore lint/suspicious/noExplicitAny: each op has arguments of its own
  const ops: { op: string; args: any }[] = [];
  device.run = (op, args) => {
    ops.push({ op, args });
    return run.call(device, op, args);
  };
  try {
    await use();
  } finally {
    device.run = run;
  }
  return ops;
}

/** The number of members that each linear op ran on. */
async function membersRun(use: () => Promise<unknown>): Promise<number[]> {
  const linear = (await opsOf(use)).filter(({ op }) => op === 'linear_forward' || op === 'swiglu_linear');
  return linear.map(({ args }) => (args.weight ?? args.gate).length);
}

stitched('each stitch and each step has a dropout of its own', async () => {
  using model = await create({ dropout: 0.5 });
  const stitchSeeds = async (seed: number) => {
    const ops = await opsOf(() => gradients(model, seed));
    const [forward, backward] = ['forward', 'backward'].map((pass) =>
      ops
        .filter(({ op }) => /^(hub|experts)_into/.test(op) && op.endsWith(pass))
        .map(({ args }) => args.seed as number),
    );
    assert.equal(backward!.reverse(), forward, 'gradients see what the pass saw');
    return forward!;
  };
  const seeds = [...(await stitchSeeds(0)), ...(await stitchSeeds(1))];
  assert.is(new Set(seeds).size, 6);
});

stitched('behind the last stitch only the hub is computed', async () => {
  const plan = [{ afterLayer: 1, kind: 'experts_into_hub' }] as const;
  using model = await createRandom({ plan });
  // Query, key, value, output, gate with up, down; at the end the head.
  const layer = (members: number) => Array(6).fill(members);
  assert.equal(await membersRun(() => model.logits(ids)), [...layer(3), ...layer(1), ...layer(1), 1]);
  assert.equal(await membersRun(() => model.trace(ids)), [...layer(3), ...layer(1), ...layer(1)]);
  using whole = await createRandom({ stitches: 1 });
  assert.equal(await membersRun(() => whole.logits(ids)), [...layer(3), ...layer(3), ...layer(3), 1]);
});

stitched('looking at gates and hidden states changes nothing', async () => {
  using model = await createRandom(variants['with layers of the hub alone at the end']);
  const logits = await model.logits(ids, 2);
  const [, last] = await model.trace(ids, 2, { hidden: true });
  assert.equal(await model.logits(ids, 2), logits);
  using alone = await DenseModel.load(device, hub);
  using scope = Scope.inference(device);
  let h = scope.track(device.tensor(last!.hidden[0]!, [1, ids.length, alone.config.width]));
  h = alone.transformer.layer(scope, 2, h, { batch: 2, tokens: 7 });
  assert.equal(await alone.transformer.head(scope, h).read(), logits, 'the hub goes on from its hidden state');
});

stitched('gates come without hidden states, which are read where they are asked for alone', async () => {
  using model = await createRandom();
  const { read } = Tensor.prototype;
  let reads = 0;
  Tensor.prototype.read = function (this: Tensor) {
    reads++;
    return read.call(this);
  };
  try {
    const whole = await model.trace(ids, 2, { hidden: true });
    assert.is(reads, whole.length * (1 + model.memberNames.length));
    const gates = whole.map(({ hidden: _, ...rest }) => rest);
    assert.equal(await model.trace(ids, 2), gates);
    assert.is(reads, whole.length * (1 + model.memberNames.length + 1));
  } finally {
    Tensor.prototype.read = read;
  }
});

stitched('experts that stay unchanged behind merges are the models that they are alone', async () => {
  using model = await createRandom(variants['with experts unchanged']);
  for (const [e, folder] of Object.values(experts).entries()) {
    using alone = await DenseModel.load(device, folder);
    using scope = Scope.inference(device);
    let h = alone.transformer.embed(scope, scope.track(device.tensor(ids, [ids.length])));
    for (const [s, { hidden }] of (await model.trace(ids, 2, { hidden: true })).entries()) {
      h = alone.transformer.layer(scope, s, h, { batch: 2, tokens: 7 });
      close(hidden[e + 1]!, await h.read(), 1e-5, `expert ${e} behind stitch ${s}`);
    }
  }
});

stitched('looking at tokens that do not fit is a typed error', async () => {
  using model = await create();
  await fails(() => model.trace([]), 'BAD_OPTION', /0 token ids/);
  await fails(() => model.trace([1, 2, 3], 2), 'BAD_OPTION', /3 token ids.*2 sequences/);
  await fails(() => model.trace([1, 300]), 'BAD_TOKEN', /300 at place 1/);
  await fails(() => model.trace([0.5]), 'BAD_TOKEN', /0.5 at place 0/);
  await fails(() => model.trace(ids, 2, { states: true } as object), 'BAD_OPTION', /no option 'states'/);
});

stitched('two stitched models share a device', async () => {
  using one = await createRandom({}, 1);
  using two = await createRandom({ gate: 'scalar', stitches: 1 }, 2);
  const [first, second] = [await one.logits(ids), await two.logits(ids)];
  const at = await Promise.all([one.logits(ids), two.logits(ids), two.logits(ids), one.logits(ids)]);
  assert.equal(at, [first, second, second, first]);
});

stitched('wherever memory runs out, stitches of low rank leave none behind', async () => {
  const folder = newFolder();
  {
    using model = await createRandom({ rank: 3, init: 'hub' });
    await save(model, folder);
  }
  await runOutOfMemory(device, () => create({ rank: 3, init: 'hub' }));
  using model = await StitchedModel.load(device, folder, { trainable: true });
  await model.logits(ids, 2);
  assert.ok((await runOutOfMemory(device, () => model.trace(ids, 2))) > 30);
  assert.ok((await runOutOfMemory(device, () => train(model, 1))) > 60);
});

stitched('wherever memory runs out, training leaves none behind', async () => {
  const options = { ...variants['with experts unchanged'], init: 'hub' } as const;
  await runOutOfMemory(device, () => create(options));
  using model = await create(options);
  await model.logits(ids);
  assert.ok((await runOutOfMemory(device, () => train(model, 1))) > 60);
});

stitched('disposing frees all, twice is harmless, and use afterwards is a typed error', async () => {
  const model = await createRandom();
  await train(model, 1);
  await model.trace(ids);
  assert.ok((await liveBytes(device)) > 0);
  model[Symbol.dispose]();
  assert.is(await liveBytes(device), 0);
  model[Symbol.dispose]();
  await fails(() => model.logits(ids), 'DISPOSED', /dispose/);
  await fails(() => model.trace(ids), 'DISPOSED', /dispose/);
  await fails(() => save(model), 'DISPOSED', /dispose/);
  assert.is(await liveBytes(device), 0);
});

stitched('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
});

stitched.run();
