import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { replaceFolder } from '../../lib/base/folder.js';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import { type TensorSource, writeSafetensors } from '../../lib/checkpoint/safetensors-writer.js';
import { type Batch, IGNORED } from '../../lib/data/packing.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import { Tensor } from '../../lib/tensor/tensor.js';
import { AdamW } from '../../lib/train/adamw.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu, shared } from '../support/devices.js';
import { type FlatConfig, varied } from '../support/flat-config.js';
import {
  CONFIGS,
  close,
  difference,
  liveBytes,
  randomize,
  randomTokens,
  runOutOfMemory,
  writeModel,
} from '../support/models.js';

const stitched = suite('stitched model');
const device = openCpu();
let root: string;
let hub: string;
let experts: Record<string, string>;

stitched.before(async () => {
  root = await mkdtemp(join(tmpdir(), 'bts-stitched-'));
  hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
  experts = {
    code: await writeModel(device, join(root, 'code'), { seed: 2 }),
    math: await writeModel(device, join(root, 'math'), { seed: 3, dtype: 'bf16' }),
  };
  const saved = join(root, 'saved');
  for (const [name, folder] of [
    ['hub', hub],
    ['code', experts.code!],
  ] as const) {
    await cp(folder, join(saved, name), { recursive: true });
  }
  using model = await createRandom({ hub: join(saved, 'hub'), experts: { code: join(saved, 'code') } });
  await save(model, join(saved, 'stitched'));
});
stitched.after(async () => {
  device.dispose();
  await rm(root, { recursive: true, force: true });
});

let folders = 0;
const newFolder = () => join(root, `folder-${folders++}`);

const ids = randomTokens(2 * 7);
const batch: Batch = { inputs: ids, targets: Int32Array.from(randomTokens(14, 2)), batch: 2, tokens: 7 };
batch.targets[3] = IGNORED;

const create = (options: Partial<StitchOptions> = {}) => StitchedModel.create(device, { hub, experts, ...options });

/** A stitched model that was trained, as far as anyone can tell. */
async function createRandom(options: Partial<StitchOptions> = {}, seed = 5): Promise<StitchedModel> {
  const model = await create(options);
  randomize(model, seed);
  return model;
}

async function save(model: StitchedModel, folder = newFolder()): Promise<string> {
  await replaceFolder(folder, (temporary) => model.write(temporary));
  return folder;
}

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

async function train(model: StitchedModel, steps: number): Promise<void> {
  using optimizer = new AdamW(device, model.trainable);
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    scope.backward(model.trainingLoss(scope, batch, 13, step));
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, 1e-2);
  }
  await device.synchronize();
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
  'with one expert': {
    get experts() {
      return { code: experts.code! };
    },
  },
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

stitched('a stitched model is found wherever it is moved together with its members', async () => {
  const home = newFolder();
  await mkdir(home);
  for (const [name, folder] of Object.entries({ hub, ...experts }))
    await cp(folder, join(home, name), { recursive: true });
  const options = { hub: join(home, 'hub'), experts: { code: join(home, 'code'), math: join(home, 'math') } };
  let logits: Float32Array;
  {
    using model = await createRandom(options);
    logits = await model.logits(ids);
    await save(model, join(home, 'models', 'generalist'));
  }
  const moved = newFolder();
  await rename(home, moved);
  using model = await StitchedModel.load(device, join(moved, 'models', 'generalist'));
  assert.equal(await model.logits(ids), logits);
  assert.equal(
    model.manifest.members.map(({ path }) => path),
    ['hub', 'code', 'math'].map((name) => join(moved, name)),
  );
});

stitched('folders given relative to the working directory are saved as the same folders', async () => {
  const there = process.cwd();
  const folder = newFolder();
  try {
    process.chdir(root);
    using model = await StitchedModel.create(device, { hub: 'hub', experts: { code: './code' } });
    process.chdir(there);
    await save(model, folder);
  } finally {
    process.chdir(there);
  }
  using model = await StitchedModel.load(device, folder);
  assert.equal(
    model.manifest.members.map(({ path }) => path),
    [hub, experts.code],
  );
});

stitched('members may differ in precision, rotary positions, ties and what tokens end a text', async () => {
  const config = varied(CONFIGS.llama, { tiedEmbeddings: true, maxPositions: 128, eosTokens: [] });
  const other = await writeModel(device, newFolder(), {
    seed: 4,
    config: varied(config, { rope: { kind: 'linear', theta: 5e5, factor: 2 } }),
    dtype: 'f16',
  });
  using model = await createRandom({ experts: { ...experts, other } });
  assert.is(model.config.maxPositions, 64, 'the hub decides');
  assert.equal(model.stopTokens, [256]);
  const logits = await model.logits(ids, 2);
  const folder = await save(model);
  using loaded = await StitchedModel.load(device, folder);
  assert.equal(await loaded.logits(ids, 2), logits);
  // With its rotary positions exchanged for the hub's, the expert says something else.
  const plain = await writeModel(device, newFolder(), { seed: 4, config, dtype: 'f16' });
  using without = await createRandom({ experts: { ...experts, other: plain } });
  assert.ok(difference(await without.logits(ids, 2), logits) > 1e-3);
});

const differing: [name: string, change: Partial<FlatConfig>, reasons: RegExp[]][] = [
  ['layers', { layers: 4 }, [/odd has layers 4, the hub 3/]],
  ['width', { width: 20, heads: 5, keyValueHeads: 5 }, [/width 20, the hub 16/, /heads 5, the hub 4/]],
  ['feed-forward width', { feedForwardWidth: 25 }, [/feedForwardWidth 25, the hub 24/]],
  ['heads for keys and values', { keyValueHeads: 4 }, [/keyValueHeads 4, the hub 2/]],
  ['vocabulary', { vocabularySize: 300 }, [/vocabularySize 300, the hub 257/]],
  ['biases', { family: 'qwen2', attentionBias: true }, [/attentionBias true, the hub false/]],
  ['head norms', { family: 'qwen3', headNorms: true }, [/headNorms head, the hub none/]],
  ['a window', { family: 'mistral', slidingWindow: 8 }, [/slidingWindow 8, the hub null/]],
  ['the norms', { normEpsilon: 1e-6 }, [/normEpsilon 0.000001, the hub 0.00001/]],
];
for (const [name, change, reasons] of differing) {
  stitched(`a member that differs in ${name} is refused with the reason`, async () => {
    const live = await liveBytes(device);
    const odd = await writeModel(device, newFolder(), { config: varied(CONFIGS.llama, change) });
    for (const reason of reasons) await fails(() => create({ experts: { ...experts, odd } }), 'MEMBERS_DIFFER', reason);
    assert.is(await liveBytes(device), live);
  });
}

stitched('a member with another tokenizer is refused', async () => {
  const odd = await writeModel(device, newFolder(), { endOfText: '</s>' });
  await fails(() => create({ experts: { odd } }), 'MEMBERS_DIFFER', /tokenizers of the hub.*of odd/);
});

const [stories, dreams] = ['stories260K', 'aidreams260K'].map((name) => shared(`data/models/${name}`)) as [
  string,
  string,
];
if (!existsSync(stories) || !existsSync(dreams)) console.log(`stitched model: skipped, there is no ${stories}`);
else {
  stitched('two trained models of other tokenizers, layers and heads are refused with the reasons', async () => {
    const pair = { hub: stories, experts: { dreams } };
    await fails(() => create(pair), 'MEMBERS_DIFFER', /tokenizers of the hub.*and of dreams/);
    const bare = { hub: newFolder(), experts: { dreams: newFolder() } };
    for (const [from, to] of [
      [stories, bare.hub],
      [dreams, bare.experts.dreams],
    ] as const) {
      await mkdir(to);
      for (const name of ['config.json', 'model.safetensors']) await cp(join(from, name), join(to, name));
    }
    for (const reason of [/layers 4, the hub 5/, /heads 4, the hub 8/, /headWidth 16, the hub 8/]) {
      await fails(() => create(bare), 'MEMBERS_DIFFER', reason);
    }
  });

  stitched('a trained model stitched with copies of itself tells the same story', async () => {
    using alone = await DenseModel.load(device, stories);
    using model = await create({ hub: stories, experts: { copy: stories } });
    const options = { temperature: 0, maxTokens: 40 };
    const texts = [];
    for (const teller of [alone, model]) {
      let text = '';
      for await (const token of teller.generate('Once upon a time', options)) text += token.text;
      texts.push(text);
    }
    assert.is(texts[1], texts[0]);
  });
}

const badOptions: [name: string, options: object, code: ErrorCode, message: RegExp][] = [
  ['no experts', { experts: {} }, 'BAD_OPTION', /at least one expert/],
  ["an expert called 'hub'", { experts: { hub: 'x' } }, 'BAD_OPTION', /'hub' cannot name an expert/],
  ['an expert whose name is a path', { experts: { 'a/b': 'x' } }, 'BAD_OPTION', /'a\/b' cannot name/],
  ['an expert without a name', { experts: { '': 'x' } }, 'BAD_OPTION', /'' cannot name/],
  ['no stitches', { stitches: 0 }, 'BAD_OPTION', /stitches must be a whole number from 1 on, not 0/],
  ['more stitches than layers', { stitches: 4 }, 'BAD_OPTION', /1 to the 3 layers, not 4/],
  ['an empty plan', { plan: [] }, 'BAD_STITCH', /last stitch/],
  ['a plan beyond the layers', { plan: [{ afterLayer: 4, kind: 'experts_into_hub' }] }, 'BAD_STITCH', /1 to 3/],
  ['a plan of unknown kind', { plan: [{ afterLayer: 3, kind: 'sideways' }] }, 'BAD_OPTION', /plan\.0\.kind/],
  ['an unknown gate', { gate: 'golden' }, 'BAD_OPTION', /gate/],
  ['an unknown beginning', { init: 'expert' }, 'BAD_OPTION', /init/],
  ['an unknown sequel', { expertsAfterMerge: 'gone' }, 'BAD_OPTION', /expertsAfterMerge/],
  ['dropout of everything', { dropout: 1 }, 'BAD_OPTION', /dropout/],
  ['dropout below zero', { dropout: -0.1 }, 'BAD_OPTION', /dropout/],
  ['dropout that is no number', { dropout: Number.NaN }, 'BAD_OPTION', /dropout/],
  ['a hub that is not there', { hub: '/nowhere' }, 'FILE_NOT_FOUND', /\/nowhere/],
  ['a rank of 0', { rank: 0 }, 'BAD_OPTION', /rank/],
  ['a rank that is none', { rank: 16 }, 'BAD_OPTION', /a rank of 16 is none below the members' 16 channels/],
  ['an expert that is not there', { experts: { code: '/nowhere' } }, 'FILE_NOT_FOUND', /\/nowhere/],
  ['a signal that fired', { signal: AbortSignal.abort() }, 'ABORTED', /stopped/],
];
for (const [name, options, code, message] of badOptions) {
  stitched(`${name} is refused`, async () => {
    await fails(() => create(options), code, message);
    assert.is(await liveBytes(device), 0);
  });
}

/** A copy of a saved model with its two members, `hub` and `code` beside `stitched`; `change` then changes the copy. */
async function savedWith(change: (home: string) => Promise<unknown>): Promise<string> {
  const home = newFolder();
  await cp(join(root, 'saved'), home, { recursive: true });
  await change(home);
  return join(home, 'stitched');
}

const flip = (name: string, at: number) => async (home: string) => {
  const bytes = await readFile(join(home, name));
  bytes[at < 0 ? bytes.length + at : at]! ^= 1;
  await writeFile(join(home, name), bytes);
};
const changes: [name: string, change: (home: string) => Promise<unknown>, code: ErrorCode, message: RegExp][] = [
  [
    "the last bit of the hub's weights",
    flip('hub/model.safetensors', -1),
    'MEMBER_CHANGED',
    /the weights of member 'hub'/,
  ],
  [
    "a bit of an expert's weights",
    flip('code/model.safetensors', -5000),
    'MEMBER_CHANGED',
    /the weights of member 'code'/,
  ],
  [
    "an expert's RoPE",
    async (home) => {
      const path = join(home, 'code', 'config.json');
      const config = JSON.parse(await readFile(path, 'utf8'));
      config.rope_theta = config.rope_parameters.rope_theta = 20_000;
      await writeFile(path, JSON.stringify(config));
    },
    'MEMBER_CHANGED',
    /the configuration of member 'code'/,
  ],
  ["an expert's tokenizer", flip('code/tokenizer.json', -3), 'MEMBER_CHANGED', /the tokenizer of member 'code'/],
  [
    "the hub's tokenizer",
    (home) => rm(join(home, 'hub', 'tokenizer.json')),
    'MEMBER_CHANGED',
    /tokenizer of member 'hub'/,
  ],
  ['the place of an expert', (home) => rename(join(home, 'code'), join(home, 'coder')), 'FILE_NOT_FOUND', /code/],
  [
    'the place of the stitches',
    (home) => rm(join(home, 'stitched/stitch.safetensors')),
    'FILE_NOT_FOUND',
    /stitch\.safe/,
  ],
  ['the place of bts.json', (home) => rm(join(home, 'stitched/bts.json')), 'FILE_NOT_FOUND', /bts\.json/],
  ['the header of the stitches', flip('stitched/stitch.safetensors', 6), 'BAD_SAFETENSORS', /./],
];
for (const [name, change, code, message] of changes) {
  stitched(`a stitched model is refused once ${name} changed`, async () => {
    const folder = await savedWith(change);
    await fails(() => StitchedModel.load(device, folder), code, message);
    assert.is(await liveBytes(device), 0);
  });
}

stitched('a member whose tokenizer is written otherwise is the same member', async () => {
  const folder = await savedWith(async (home) => {
    const path = join(home, 'code', 'tokenizer.json');
    await writeFile(path, JSON.stringify(JSON.parse(await readFile(path, 'utf8')), null, 2));
  });
  using model = await StitchedModel.load(device, folder);
  assert.is(model.manifest.members.length, 2);
});

stitched('a model whose bts.json knows the bytes of tokenizer.json, as they once did, loads', async () => {
  const change = (hash: (bytes: Buffer) => string) =>
    savedWith(async (home) => {
      const path = join(home, 'stitched', 'bts.json');
      const manifest = JSON.parse(await readFile(path, 'utf8'));
      for (const member of manifest.members) {
        member.tokenizer = hash(await readFile(join(home, 'stitched', member.path, 'tokenizer.json')));
      }
      await writeFile(path, JSON.stringify(manifest));
    });
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  using model = await StitchedModel.load(device, await change(sha256));
  assert.is(model.manifest.members.length, 2);
  const other = await change((bytes) => sha256(bytes.subarray(1)));
  await fails(() => StitchedModel.load(device, other), 'MEMBER_CHANGED', /the tokenizer of member 'hub'/);
});

stitched('a member cut into other shards, with other metadata, is the same member', async () => {
  const folder = await savedWith(async (home) => {
    const path = join(home, 'code', 'model.safetensors');
    const { tensors } = await readSafetensors(path);
    const bytes = await readFile(path);
    await rm(path);
    await writeSafetensors(
      path,
      [...tensors.values()].map(({ offset, bytes: length, ...tensor }) => ({
        ...tensor,
        data: async () => bytes.subarray(offset, offset + length),
      })),
      { format: 'pt', author: 'somebody else' },
    );
  });
  using model = await StitchedModel.load(device, folder);
  assert.equal(model.memberNames, ['hub', 'code']);
});

// biome-ignore lint/suspicious/noExplicitAny: the point is to break what the type says
type Json = any;
const malformed: [name: string, change: (json: Json) => unknown, message: RegExp][] = [
  ['another version', (j) => (j.formatVersion = 2), /formatVersion/],
  ['no version', (j) => delete j.formatVersion, /formatVersion/],
  ['an unknown key', (j) => (j.extra = 1), /extra/],
  ['an unknown key in a member', (j) => (j.members[1].extra = 1), /members\.1.*extra/],
  ['no members', (j) => delete j.members, /members/],
  ['the hub alone', (j) => j.members.pop(), /members/],
  ['two members of one name', (j) => (j.members[1].name = 'hub'), /one name among hub, hub/],
  ['a name that is a path', (j) => (j.members[1].name = '../code'), /members\.1\.name/],
  ['a path that is a number', (j) => (j.members[1].path = 7), /members\.1\.path/],
  ['an empty path', (j) => (j.members[1].path = ''), /members\.1\.path/],
  ['a hash that is none', (j) => (j.members[0].weights = 'abc'), /members\.0\.weights/],
  ['no hash of the weights', (j) => (j.members[0].weights = null), /members\.0\.weights/],
  ['a hash that is a number', (j) => (j.members[0].tokenizer = 1), /members\.0\.tokenizer/],
  ['no plan', (j) => delete j.plan, /plan/],
  ['an empty plan', (j) => (j.plan = []), /plan/],
  ['a stitch behind layer 0', (j) => (j.plan[0].afterLayer = 0), /plan\.0\.afterLayer/],
  ['a stitch between layers', (j) => (j.plan[0].afterLayer = 1.5), /plan\.0\.afterLayer/],
  ['a stitch beyond the layers', (j) => (j.plan[2].afterLayer = 4), /from 1 to 3, not after 1, 2, 4/],
  ['stitches out of order', (j) => j.plan.reverse(), /not after 3, 2, 1/],
  ['a stitch of unknown kind', (j) => (j.plan[0].kind = 'x'), /plan\.0\.kind/],
  ['a last stitch into the experts', (j) => (j.plan[2].kind = 'hub_into_experts'), /last stitch/],
  ['a rank of 0', (j) => (j.rank = 0), /rank/],
  ['a rank between numbers', (j) => (j.rank = 1.5), /rank/],
  ['a rank that is none', (j) => (j.rank = 16), /a rank of 16 is none below the members' 16 channels/],
  [
    'a rank that its tensors have not',
    (j) => (j.rank = 4),
    /stitch\.0\.gate\.down\.weight must be F32 \[2,4,16\], there is nothing/,
  ],
  ['an unknown gate', (j) => (j.gate = 'vector'), /gate/],
  ['a gate bias that is no boolean', (j) => (j.gateBias = 'no'), /gateBias/],
  ['an unknown sequel', (j) => (j.expertsAfterMerge = 'gone'), /expertsAfterMerge/],
  ['dropout of everything', (j) => (j.dropout = 1), /dropout/],
  [
    'a gate bias that has no tensor',
    (j) => (j.gateBias = true),
    /stitch\.0\.gate\.bias must be F32 \[2,16\], there is nothing/,
  ],
  [
    'another gate than its tensors',
    (j) => (j.gate = 'scalar'),
    /stitch\.0\.gate\.weight must be F32 \[2,1,16\], there is F32 \[2,16,16\]/,
  ],
  ['fewer stitches than tensors', (j) => j.plan.shift(), /does not account for: stitch\.2\./],
];
for (const [name, change, message] of malformed) {
  stitched(`a bts.json with ${name} is refused`, async () => {
    const folder = await savedWith(async (home) => {
      const path = join(home, 'stitched', 'bts.json');
      const json = JSON.parse(await readFile(path, 'utf8'));
      change(json);
      await writeFile(path, JSON.stringify(json));
    });
    await fails(() => StitchedModel.load(device, folder), 'BAD_STITCH', message);
    assert.is(await liveBytes(device), 0);
  });
}

for (const [name, text] of [
  ['nothing', ''],
  ['half of it', '{"formatVersion": 1, "mem'],
  ['a list', '[]'],
  ['null', 'null'],
] as const) {
  stitched(`a bts.json that holds ${name} is refused`, async () => {
    const folder = await savedWith((home) => writeFile(join(home, 'stitched', 'bts.json'), text));
    await fails(() => StitchedModel.load(device, folder), 'BAD_STITCH', /bts\.json/);
  });
}

type Tensors = Map<string, TensorSource>;
const float = (name: string, shape: number[], dtype: 'F32' | 'BF16' = 'F32'): TensorSource => {
  const bytes = shape.reduce((product, size) => product * size, dtype === 'F32' ? 4 : 2);
  return { name, shape, dtype, data: async () => new Uint8Array(bytes) };
};
const tensorFaults: [name: string, change: (tensors: Tensors) => unknown, message: RegExp][] = [
  [
    'a missing gate',
    (t) => t.delete('stitch.1.gate.weight'),
    /stitch\.1\.gate\.weight must be F32 \[2,16,16\], there is nothing/,
  ],
  ['a missing projection', (t) => t.delete('stitch.2.proj.0.weight'), /stitch\.2\.proj\.0\.weight.*there is nothing/],
  [
    'a tensor too many',
    (t) => t.set('x', float('stitch.3.gate.weight', [2, 16, 16])),
    /account for: stitch\.3\.gate\.weight/,
  ],
  ['an unknown tensor', (t) => t.set('x', float('optimizer', [1])), /account for: optimizer/],
  [
    'a projection of another shape',
    (t) => t.set('stitch.0.proj.0.weight', float('stitch.0.proj.0.weight', [16, 8])),
    /F32 \[16,16\], there is F32 \[16,8\]/,
  ],
  [
    'a flat projection',
    (t) => t.set('stitch.0.proj.0.weight', float('stitch.0.proj.0.weight', [256])),
    /there is F32 \[256\]/,
  ],
  [
    'a gate in half precision',
    (t) => t.set('stitch.0.gate.weight', float('stitch.0.gate.weight', [2, 16, 16], 'BF16')),
    /there is BF16/,
  ],
  ['no tensors', (t) => t.clear(), /stitch\.0\.gate\.weight.*there is nothing/],
];
for (const [name, change, message] of tensorFaults) {
  stitched(`stitches with ${name} are refused and leave no memory behind`, async () => {
    const folder = await savedWith(async (home) => {
      const path = join(home, 'stitched', 'stitch.safetensors');
      const { tensors } = await readSafetensors(path);
      const bytes = await readFile(path);
      const sources: Tensors = new Map();
      for (const { name, dtype, shape, offset, bytes: length } of tensors.values()) {
        sources.set(name, { name, dtype, shape, data: async () => bytes.subarray(offset, offset + length) });
      }
      change(sources);
      await rm(path);
      await writeSafetensors(path, sources.values());
    });
    await fails(() => StitchedModel.load(device, folder), 'BAD_STITCH', message);
    assert.is(await liveBytes(device), 0);
  });
}

stitched('wherever memory runs out, loading and computing leave none behind', async () => {
  const folder = join(root, 'saved', 'stitched');
  assert.ok((await runOutOfMemory(device, () => StitchedModel.load(device, folder))) > 60);
  using model = await StitchedModel.load(device, folder);
  // Rotary tables are kept for good; here they are made beforehand.
  const logits = await model.logits(ids, 2);
  assert.ok((await runOutOfMemory(device, () => model.logits(ids, 2))) > 30);
  assert.ok((await runOutOfMemory(device, () => model.trace(ids, 2, { hidden: true }))) > 30);
  assert.equal(await model.logits(ids, 2), logits);
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
