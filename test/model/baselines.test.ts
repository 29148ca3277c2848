/** The systems that BTS is compared with: numbers against plain references, files, generation, training. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { type Batch, IGNORED } from '../../lib/data/packing.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { MIXTURES, type MixtureSystem } from '../../lib/model/baselines/mixtures.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import { writeSoup } from '../../lib/model/baselines/soup.js';
import { mixtureFlopsPerToken, systemParameters } from '../../lib/model/cost/system-cost.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { loadModel } from '../../lib/model/load-model.js';
import { planStitches } from '../../lib/model/stitches/stitch-plan.js';
import { countFlops } from '../../lib/tensor/flops.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { varied } from '../support/flat-config.js';
import { CONFIGS, close, liveBytes, randomize, randomTokens, writeModel, writeTokenizer } from '../support/models.js';
import { type MixtureReference, mean, mixtureLogits, readWeights } from '../support/reference-mixture.js';

const device = openCpu();
const root = await mkdtemp(join(tmpdir(), 'bts-baselines-'));
const config = CONFIGS.llama;
const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
const experts = {
  code: await writeModel(device, join(root, 'code'), { seed: 2 }),
  math: await writeModel(device, join(root, 'math'), { seed: 3 }),
};
const folders = [hub, ...Object.values(experts)];
const members = await Promise.all(folders.map((folder) => readWeights(join(folder, 'model.safetensors'))));
const M = members.length;
const mixtures = Object.keys(MIXTURES) as MixtureSystem[];

const T = 7;
const ids = randomTokens(2 * T);
const batch: Batch = { inputs: ids, targets: Int32Array.from(randomTokens(2 * T, 2)), batch: 2, tokens: T };
batch.targets[3] = IGNORED;

let count = 0;
async function save(model: LanguageModel): Promise<string> {
  const folder = join(root, `saved-${count++}`);
  await replaceFolder(folder, (temporary) => model.write(temporary));
  return folder;
}

/** The loss of each token given a row of logits. */
function lossOf(logits: ArrayLike<number>, target: number): number {
  const row = Array.from(logits);
  const top = Math.max(...row);
  return top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0)) - row[target]!;
}
const V = config.vocabularySize;
const row = (logits: Float32Array, n: number) => logits.subarray(n * V, (n + 1) * V);

/** That a model's cache, filled in pieces of these sizes, gives what the whole pass gives. */
async function agreesWithItsCache(model: LanguageModel, pieces: readonly number[], tolerance = 1e-5): Promise<void> {
  const whole = await model.logits(ids, 2);
  using cache = model.createCache(2, T);
  let at = 0;
  for (const size of pieces) {
    const piece = [0, 1].flatMap((b) => [...ids.subarray(b * T + at, b * T + at + size)]);
    const next = await model.extend(cache, piece);
    at += size;
    for (const b of [0, 1]) {
      const [got, want] = [row(next, b), row(whole, b * T + at - 1)];
      close(got, want, tolerance, `logits of sequence ${b} after ${at} tokens`);
    }
    assert.equal(cache.lengths, [at, at]);
  }
}

async function trainSome(model: LanguageModel, data: Batch, steps: number, rate = 1e-2): Promise<number[]> {
  using optimizer = new AdamW(device, model.trainable, { weightDecay: 0 });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    const loss = await model.trainingLoss(scope, data, data.targets.length, step, step / steps);
    scope.backward(loss);
    losses.push(await loss.item());
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, rate);
  }
  return losses;
}

const baselines = suite('baselines');

baselines('a soup is the mean of all weights, an ordinary checkpoint', async () => {
  const folder = join(root, 'soup');
  await writeSoup(device, folder, { hub, experts });
  const soup = await readWeights(join(folder, 'model.safetensors'));
  assert.equal([...soup.keys()].sort(), [...members[0]!.keys()].sort());
  for (const [name, { data }] of soup) close([...data], [...mean(members, name).data], 1e-7, name);
  using model = await DenseModel.load(device, folder);
  assert.ok(Number.isFinite(await model.loss(batch)));
  await writeSoup(device, join(root, 'half'), { hub, experts, dtype: 'bf16' });
  using half = await DenseModel.load(device, join(root, 'half'));
  assert.is(half.config.dtype, 'BF16');
});

baselines('models cannot be averaged where one has a weight that another lacks', async () => {
  const tied = await writeModel(device, join(root, 'tied'), { config: varied(config, { tiedEmbeddings: true }) });
  const options = { hub, experts: { tied } };
  await fails(() => writeSoup(device, join(root, 'no'), options), 'MEMBERS_DIFFER', /the head is the embedding/);
  await fails(() => MixtureModel.create(device, 'bam', options), 'MEMBERS_DIFFER', /the head is the embedding/);
});

/** What the references need of a mixture: out of the members' files, or as it was written. */
async function reference(system: MixtureSystem, folder: string): Promise<MixtureReference> {
  const written = await readWeights(join(folder, 'mixture.safetensors'));
  const refers = system === 'bam-adapters';
  return {
    config,
    members: M,
    parts: MIXTURES[system].experts,
    hard: system === 'btx-sample',
    base: (name) => (refers ? mean(members, name) : written.get(name)!),
    expert: (m, name) => (refers ? members[m]!.get(name)! : written.get(`expert.${m}.${name}`)!),
    router: (layer, part) => written.get(`layers.${layer}.${part}.router.weight`)!,
    ...(refers && { adapter: (layer, part, m) => written.get(`layers.${layer}.${part}.adapter.${m}.weight`)! }),
  };
}

for (const system of mixtures) {
  baselines(`${system}: begins as the mean of the members, with their layers as experts`, async () => {
    using model = await MixtureModel.create(device, system, { hub, experts, seed: 4 });
    const made = await reference(system, await save(model));
    const own: MixtureReference = {
      ...made,
      base: (name) => mean(members, name),
      expert: (m, name) => members[m]!.get(name)!,
    };
    close(await model.logits(ids, 2), mixtureLogits(own, ids, 2), 2e-5);
  });

  baselines(`${system}: computes what its formula says, also when saved and loaded`, async () => {
    using model = await MixtureModel.create(device, system, { hub, experts });
    randomize(model, 9);
    const folder = await save(model);
    const logits = await model.logits(ids, 2);
    close(logits, mixtureLogits(await reference(system, folder), ids, 2), 2e-5);
    using loaded = await loadModel(device, folder);
    assert.instance(loaded, MixtureModel);
    assert.equal(await loaded.logits(ids, 2), logits);
    assert.is(loaded.trainable.length, 0);
    assert.is(await loaded.loss(batch), await model.loss(batch));
    await agreesWithItsCache(loaded, [3, 1, 2, 1]);
    const texts = [];
    for (const each of [model, loaded]) {
      let text = '';
      for await (const token of each.generate('ab', { maxTokens: 8, temperature: 0 })) text += token.id;
      texts.push(text);
    }
    assert.is(texts[0], texts[1]);
  });

  baselines(`${system}: every trained weight has a gradient, and training lowers the loss`, async () => {
    using model = await MixtureModel.create(device, system, { hub, experts });
    const before = await model.loss(batch);
    const losses = await trainSome(model, batch, 12);
    assert.ok(losses.at(-1)! < losses[0]! - 0.3, `${losses}`);
    assert.ok((await model.loss(batch)) < before);
    for (const { name, gradient } of model.trainable) {
      assert.ok((await gradient!.read()).every(Number.isFinite), name);
    }
    const still: string[] = [];
    for (const { name, gradient } of model.trainable) {
      if ((await gradient!.read()).every((x) => x === 0)) still.push(name);
    }
    // One expert a token: with few tokens some may be taken by none.
    if (system !== 'btx-sample') assert.equal(still, []);
    else assert.ok(still.length < model.trainable.length / 4, `${still}`);
    using again = await loadModel(device, await save(model), { trainable: true });
    assert.equal(
      again.trainable.map(({ name }) => name),
      model.trainable.map(({ name }) => name),
    );
  });

  baselines(`${system}: has the parameters and takes the operations that the tables say`, async () => {
    using model = await MixtureModel.create(device, system, { hub, experts });
    const shape = {
      plan: planStitches(3, 1),
      gate: 'channel',
      gateBias: false,
      expertsAfterMerge: 'projected',
    } as const;
    const rows = systemParameters(config, { ...shape, members: [config, config, config] });
    const { trained } = rows.find((each) => each.system === system)!;
    assert.is(
      model.trainable.reduce((sum, { value }) => sum + value.size, 0),
      trained,
    );
    const counted = await countFlops(device, () => model.logits(ids, 2));
    assert.is(counted, ids.length * mixtureFlopsPerToken(system, config, M, T));
  });
}

baselines('BTX Sample draws one expert a token in training, and the same one for the same seed', async () => {
  using model = await MixtureModel.create(device, 'btx-sample', { hub, experts });
  const loss = async (seed: number, progress: number) => {
    using scope = Scope.recording(device);
    return await model.trainingLoss(scope, batch, 13, seed, progress).item();
  };
  assert.is(await loss(1, 0.5), await loss(1, 0.5));
  assert.is.not(await loss(1, 0.5), await loss(2, 0.5));
  assert.is.not(await loss(1, 0.5), await loss(1, 0.9));
});

baselines('an ensemble weighs its models by the posterior of what came before', async () => {
  using model = await EnsembleModel.create(device, { hub, experts });
  using loaded = await loadModel(device, await save(model));
  assert.instance(loaded, EnsembleModel);
  const alone = [];
  for (const folder of folders) {
    using member = await DenseModel.load(device, folder);
    alone.push(await member.logits(ids, 2));
  }
  const want: number[] = [];
  const targets: Int32Array = Int32Array.from(ids, (_, i) => ((i + 1) % T === 0 ? batch.targets[i]! : ids[i + 1]!));
  for (const b of [0, 1]) {
    // The probability of all tokens so far under each model.
    const joint = alone.map(() => 1);
    for (let n = b * T; n < (b + 1) * T; n++) {
      const p = alone.map((logits) => Math.exp(-lossOf(row(logits, n), targets[n]!)));
      const evidence = joint.reduce((a, c) => a + c, 0);
      want.push(-Math.log(p.reduce((sum, own, m) => sum + (joint[m]! / evidence) * own, 0)));
      for (const [m, own] of p.entries()) joint[m]! *= own;
    }
  }
  const all = { ...batch, targets };
  close(await loaded.losses(all), want, 1e-5);
  assert.equal(await loaded.losses(all), await model.losses(all));
  const logits = await loaded.logits(ids, 2);
  close(
    want.map((_, n) => lossOf(row(logits, n), targets[n]!)),
    want,
    1e-5,
  );
  // What is not asked for is evidence all the same.
  const some = { ...batch, targets: targets.map((target, i) => (i % T < 3 ? IGNORED : target)) };
  close(
    await loaded.losses(some),
    want.map((loss, i) => (i % T < 3 ? 0 : loss)),
    1e-5,
  );
  await agreesWithItsCache(loaded, [3, 1, 2, 1]);
  assert.throws(() => model.trainingLoss(), /nothing to train/);
});

baselines('an ensemble of one model and itself is that model', async () => {
  using model = await EnsembleModel.create(device, { hub, experts: { twin: hub } });
  using alone = await DenseModel.load(device, hub);
  close(await model.losses(batch), await alone.losses(batch), 1e-6);
});

baselines('a router learns which model does best, and gives it the whole sequence', async () => {
  using model = await RoutedModel.create(device, { hub, experts });
  // Two kinds of text; which model is best on each is what it is.
  const tokens = 40;
  const words = Int32Array.from({ length: 4 * tokens }, (_, i) => {
    const t = i % tokens;
    return i < 2 * tokens ? t % 11 : 100 + (t % 13);
  });
  const data: Batch = { inputs: words, targets: words.map((_, i) => words[i + 1] ?? 0), batch: 4, tokens };
  const alone: Float32Array[] = [];
  for (const folder of folders) {
    using member = await DenseModel.load(device, folder);
    alone.push(await member.losses(data));
  }
  const sum = (losses: Float32Array, b: number) =>
    losses.subarray(b * tokens, (b + 1) * tokens).reduce((a, c) => a + c, 0);
  const best = [0, 1, 2, 3].map((b) => {
    const sums = alone.map((losses) => sum(losses, b));
    return sums.indexOf(Math.min(...sums));
  });
  using scope = Scope.recording(device);
  // Indifferent: the cross-entropy of a guess.
  close([await (await model.trainingLoss(scope, data, data.targets.length, 1)).item()], [Math.log(3)], 1e-6);
  const losses = await trainSome(model, data, 150, 0.05);
  assert.ok(losses.at(-1)! < 0.3, `${losses.at(-1)}`);
  assert.equal(await model.choices(words, 4), best);
  using loaded = await loadModel(device, await save(model));
  assert.instance(loaded, RoutedModel);
  const found = await loaded.losses(data);
  for (const b of [0, 1, 2, 3]) {
    const slice = (all: Float32Array) => all.subarray(b * tokens, (b + 1) * tokens);
    close(slice(found), slice(alone[best[b]!]!), 1e-6, `sequence ${b}`);
  }
});

baselines('a routed model stays with the choice of the prompt', async () => {
  using model = await RoutedModel.create(device, { hub, experts });
  randomize(model, 3);
  const chosen = await model.choices(ids.subarray(0, 3));
  using member = await DenseModel.load(device, folders[chosen[0]!]!);
  using cache = model.createCache(1, T);
  using own = member.createCache(1, T);
  for (const [from, to] of [
    [0, 3],
    [3, 5],
    [5, 7],
  ] as const) {
    const piece = ids.subarray(from, to);
    assert.equal(await model.extend(cache, piece), await member.extend(own, piece));
  }
  const logits = await model.logits(ids, 2);
  for (const [b, choice] of (await model.choices(ids, 2)).entries()) {
    using member = await DenseModel.load(device, folders[choice]!);
    close(logits.subarray(b * T * V, (b + 1) * T * V), await member.logits(ids.subarray(b * T, (b + 1) * T)), 1e-6);
  }
});

baselines('a system that refers to its members knows when one was changed', async () => {
  const changing = await writeModel(device, join(root, 'changing'), { seed: 5 });
  const options = { hub, experts: { changing } };
  const saved = [];
  for (const create of [
    () => EnsembleModel.create(device, options),
    () => RoutedModel.create(device, options),
    () => MixtureModel.create(device, 'bam-adapters', options),
  ]) {
    using model = await create();
    saved.push(await save(model));
    assert.not.ok((await readdir(saved.at(-1)!)).includes('model.safetensors'));
  }
  await writeTokenizer(changing, '<|stop|>');
  for (const folder of saved)
    await fails(() => loadModel(device, folder), 'MEMBER_CHANGED', /the tokenizer of member 'changing'/);
});

baselines('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
});

baselines.after(async () => {
  device.dispose();
  await rm(root, { recursive: true, force: true });
});

baselines.run();
