/** Experts that come, go and are switched off. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { SparseModel } from '../../lib/model/baselines/sparse-model.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { addExperts, removeExperts } from '../../lib/model/change-experts.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { loadModel } from '../../lib/model/load-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { countFlops } from '../../lib/tensor/flops.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, close, liveBytes, randomize, randomTokens, writeModel } from '../support/models.js';

const device = openCpu();
const root = await mkdtemp(join(tmpdir(), 'bts-experts-'));
const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
const code = await writeModel(device, join(root, 'code'), { seed: 2 });
const math = await writeModel(device, join(root, 'math'), { seed: 3 });
const prose = await writeModel(device, join(root, 'prose'), { seed: 4 });
const ids = randomTokens(2 * 7);
const batch = { inputs: ids, targets: randomTokens(2 * 7, 2), batch: 2, tokens: 7 };

let count = 0;
async function save(model: StitchedModel): Promise<string> {
  const folder = join(root, `saved-${count++}`);
  await replaceFolder(folder, (temporary) => model.write(temporary));
  return folder;
}

/** A stitched model that was trained, as far as anyone can tell, in a folder. */
async function stitched(options: Partial<StitchOptions> = {}): Promise<string> {
  using model = await StitchedModel.create(device, { hub, experts: { code, math }, ...options });
  randomize(model, 5);
  return await save(model);
}

async function hashOf(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(folder)).sort()) hash.update(name).update(await readFile(join(folder, name)));
  return hash.digest('hex');
}

async function step(model: StitchedModel, steps = 1): Promise<void> {
  using optimizer = new AdamW(device, model.trainable);
  for (let i = 0; i < steps; i++) {
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    scope.backward(model.trainingLoss(scope, batch, 14, i));
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, 1e-2);
  }
  await device.synchronize();
}

const variants: Record<string, Partial<StitchOptions>> = {
  'with a gate bias': { init: 'hub' },
  'without a gate bias': {},
  'with a scalar gate': { gate: 'scalar' },
  'of low rank': { rank: 3 },
  'of low rank with a gate bias': { rank: 15, init: 'hub' },
  'with experts unchanged and all stitches into the hub': { expertsAfterMerge: 'unchanged', alternate: false },
};

const come = suite('experts');

for (const [what, options] of Object.entries(variants)) {
  come(`an expert that is added changes nothing at first, to the bit, ${what}`, async () => {
    const folder = await stitched(options);
    using before = await StitchedModel.load(device, folder);
    const logits = await before.logits(ids, 2);
    using model = await addExperts(device, folder, { prose });
    assert.equal(model.memberNames, ['hub', 'code', 'math', 'prose']);
    assert.equal(await model.logits(ids, 2), logits);
    using loaded = await StitchedModel.load(device, await save(model));
    assert.equal(await loaded.logits(ids, 2), logits);
    assert.is(await loaded.loss(batch), await before.loss(batch));
    using cache = loaded.createCache(2, 7);
    using own = before.createCache(2, 7);
    assert.equal(await loaded.extend(cache, ids), await before.extend(own, ids));

    model.openGates(['prose']);
    const opened = await model.logits(ids, 2);
    assert.not.equal(opened, logits);
    const shift = Math.max(...opened.map((x, i) => Math.abs(x - logits[i]!)));
    assert.ok(shift < 2, `opened by ${shift}`);
  });
}

for (const [what, options, gateAndProjection] of [
  ['', {}, 16 * 16 + 16 * 16],
  [' of low rank', { rank: 3 }, 2 * 2 * 3 * 16],
] as const) {
  come(`training${what} can be confined to what belongs to a new expert`, async () => {
    const folder = await stitched(options);
    using model = await addExperts(device, folder, { prose }, { train: 'new' });
    model.openGates(['prose']);
    const before = await save(model);
    const loss = await model.loss(batch);
    const size = model.trainable.reduce((sum, { value }) => sum + value.size, 0);
    const { width } = CONFIGS.llama;
    assert.is(size, 3 * (gateAndProjection + width), 'a gate slot, its bias and a projection for each stitch');
    await step(model, 5);
    assert.ok((await model.loss(batch)) < loss);
    const [a, b] = [await weightsOf(before), await weightsOf(await save(model))];
    for (const [name, old] of a) {
      const now = b.get(name)!;
      const changed = now.map((x, i) => (x === old[i] ? 0 : 1)).reduce((sum: number, x) => sum + x, 0);
      if (name.includes('proj.')) assert.is(changed > 0, name.includes('proj.2'), name);
      // The last member's slot alone, of those that are read.
      else
        assert.ok(
          now.subarray(0, (now.length / 4) * 3).every((x, i) => x === old[i]),
          name,
        );
    }
    using resumed = await StitchedModel.load(device, before, { trainable: ['prose'] });
    assert.equal(
      resumed.trainable.map(({ name }) => name),
      model.trainable.map(({ name }) => name),
    );
  });
}

come('an expert that was added and opened learns with all the others', async () => {
  using model = await addExperts(device, await stitched(), { prose });
  model.openGates(['prose']);
  const loss = await model.loss(batch);
  await step(model, 5);
  assert.ok((await model.loss(batch)) < loss);
});

come('adding, removing and switching off leave all files of members and of the model as they were', async () => {
  const folder = await stitched();
  const folders = [hub, code, math, prose, folder];
  const before = await Promise.all(folders.map(hashOf));
  using model = await addExperts(device, folder, { prose });
  model.openGates(['prose']);
  await step(model);
  await save(model);
  using whole = await StitchedModel.load(device, folder);
  await save(whole.without(['math']));
  assert.equal(await Promise.all(folders.map(hashOf)), before);
});

for (const [what, options] of [
  ['', { init: 'hub' }],
  [' of low rank', { init: 'hub', rank: 3 }],
] as const) {
  come(`an expert that is added and removed again leaves the model${what} as it was`, async () => {
    const folder = await stitched(options);
    using before = await StitchedModel.load(device, folder);
    using added = await addExperts(device, folder, { prose });
    using loaded = await StitchedModel.load(device, await save(added));
    using removed = await StitchedModel.load(device, await save(loaded.without(['prose'])));
    assert.equal(removed.manifest, { ...before.manifest });
    assert.equal(await removed.logits(ids, 2), await before.logits(ids, 2));
    const saved = await save(loaded);
    using trainable = await removeExperts(device, saved, ['prose']);
    assert.equal(await trainable.logits(ids, 2), await before.logits(ids, 2));
    await step(trainable);
    assert.not.equal(await trainable.logits(ids, 2), await before.logits(ids, 2));
    const all = ['code', 'math', 'prose'];
    await fails(() => removeExperts(device, saved, all), 'BAD_OPTION', /without its last expert/);
  });
}

come('a model without an expert is one whose gates are over the rest', async () => {
  using model = await StitchedModel.load(device, await stitched({ stitches: 1 }));
  const [whole] = await model.trace(ids, 2);
  const [part] = await model.without(['code']).trace(ids, 2);
  const { width: C } = CONFIGS.llama;
  for (let n = 0; n < ids.length; n++) {
    for (let c = 0; c < C; c++) {
      const gate = (m: number) => whole!.gates[(n * 3 + m) * C + c]!;
      const rest = gate(0) + gate(2);
      close([part!.gates[n * 2 * C + c]!, part!.gates[(n * 2 + 1) * C + c]!], [gate(0) / rest, gate(2) / rest], 1e-5);
    }
  }
});

for (const options of [{}, { rank: 3 }])
  come(`an expert that is switched off is not computed, options ${JSON.stringify(options)}`, async () => {
    using model = await StitchedModel.load(device, await stitched(options));
    const own = await countFlops(device, () => model.logits(ids, 2));
    const less = await countFlops(device, () => model.without(['math']).logits(ids, 2));
    const alone = await countFlops(device, () => model.without(['math', 'code']).logits(ids, 2));
    using two = await StitchedModel.create(device, { hub, experts: { code }, ...options });
    assert.is(less, await countFlops(device, () => two.logits(ids, 2)));
    assert.ok(own > less && less > alone);
    assert.is(model.without(['math']), model.without(['math']));
    assert.is(model.without([]), model);
  });

for (const options of [{}, { rank: 3 }])
  come(
    `requests with different experts switched off run side by side, options ${JSON.stringify(options)}`,
    async () => {
      using model = await StitchedModel.load(device, await stitched(options));
      const generate = async (off: string[]) => {
        const found: number[] = [];
        for await (const { id } of model
          .without(off)
          .generate([...ids.subarray(0, 4)], { temperature: 0, maxTokens: 9, stopTokens: [] }))
          found.push(id);
        return found;
      };
      const wanted = [[], ['code'], ['math'], ['code', 'math']];
      const alone = [];
      for (const off of wanted) alone.push(await generate(off));
      assert.equal(await Promise.all(wanted.map(generate)), alone);
    },
  );

for (const options of [{}, { rank: 3 }])
  come(`without all experts the hub is what remains, options ${JSON.stringify(options)}`, async () => {
    using model = await StitchedModel.load(device, await stitched(options));
    using alone = await DenseModel.load(device, hub);
    close(await model.without(['code', 'math']).logits(ids, 2), await alone.logits(ids, 2), 1e-6);
  });

come('what experts share with their hub is in memory once', async () => {
  const branched = join(root, 'branched');
  {
    using expert = await DenseModel.load(device, hub, { trainable: true, freeze: ['embeddings', 'head'] });
    const before = await expert.loss(batch);
    using optimizer = new AdamW(device, expert.trainable);
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    scope.backward(expert.trainingLoss(scope, batch, 14, 0));
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, 1e-2);
    assert.is.not(await expert.loss(batch), before);
    await replaceFolder(branched, (temporary) => expert.write(temporary));
  }
  const bytesWith = async (code: string) => {
    const empty = await liveBytes(device);
    using model = await StitchedModel.create(device, { hub, experts: { code } });
    const folder = await save(model);
    using loaded = await StitchedModel.load(device, folder);
    assert.equal(await loaded.logits(ids, 2), await model.logits(ids, 2));
    model[Symbol.dispose]();
    return { bytes: (await liveBytes(device)) - empty, folder };
  };
  const [own, shared] = [await bytesWith(code), await bytesWith(branched)];
  const { vocabularySize: V, width: C } = CONFIGS.llama;
  // The embedding, up to what the allocator rounds; an expert's head and final norm are not loaded at all.
  const saved = own.bytes - shared.bytes;
  assert.ok(saved >= 4 * V * C && saved < 1.25 * 4 * V * C, `${saved} bytes are saved`);
});

come('experts that are not there, or not free to go, are refused', async () => {
  const folder = await stitched();
  using model = await StitchedModel.load(device, folder);
  await fails(async () => model.without(['hub']), 'BAD_OPTION', /'hub' is not among the experts code, math/);
  await fails(async () => model.without(['art']), 'BAD_OPTION', /'art'/);
  await fails(() => addExperts(device, folder, { code: prose }), 'BAD_OPTION', /'code' cannot name a new expert/);
  using trained = await StitchedModel.load(device, folder, { trainable: true });
  await fails(async () => trained.without(['code']), 'BAD_OPTION', /load it frozen/);
  const other = await writeModel(device, join(root, 'other'), { config: { ...CONFIGS.llama, layers: 2 } });
  await fails(() => addExperts(device, folder, { other }), 'MEMBERS_DIFFER', /layers/);
});

come('a router picks the experts of a stitched model that run for a sequence', async () => {
  const folder = await stitched();
  using whole = await StitchedModel.load(device, folder);
  using model = await SparseModel.create(device, folder, 1);
  assert.equal(await model.picks(ids, 2), [['code'], ['code']], 'indifferent: the first');
  const alone = await whole.without(['math']).losses(batch);
  assert.equal(await model.losses(batch), alone);
  // The cross-entropy of a guess, and what it learns: the expert with which each sequence costs less.
  using scope = Scope.recording(device);
  close([await (await model.trainingLoss(scope, batch, 14, 1)).item()], [Math.log(2)], 1e-6);
  using optimizer = new AdamW(device, model.trainable, { weightDecay: 0 });
  for (let i = 0; i < 60; i++) {
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    scope.backward(await model.trainingLoss(scope, batch, 14, i));
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, 0.1);
  }
  const other = await whole.without(['code']).losses(batch);
  const sum = (losses: Float32Array, b: number) => losses.subarray(b * 7, b * 7 + 7).reduce((a, c) => a + c, 0);
  const best = [0, 1].map((b) => [sum(alone, b) <= sum(other, b) ? 'code' : 'math']);
  assert.equal(await model.picks(ids, 2), best);

  const saved = join(root, 'sparse');
  await replaceFolder(saved, (temporary) => model.write(temporary));
  using loaded = await loadModel(device, saved);
  assert.equal(await loaded.losses(batch), await model.losses(batch));
  using all = await SparseModel.load(device, saved, { k: 2 });
  assert.equal(await all.losses(batch), await whole.losses(batch));
  assert.equal(await all.logits(ids, 2), await whole.logits(ids, 2));
  const one = await countFlops(device, () => loaded.losses(batch));
  assert.ok(one < (await countFlops(device, () => all.losses(batch))));
  using cache = loaded.createCache(1, 7);
  const first = ids.subarray(0, 7);
  const last = (await loaded.logits(first)).subarray(-CONFIGS.llama.vocabularySize);
  close(await loaded.extend(cache, first), last, 1e-5);
  await fails(() => SparseModel.create(device, folder, 3), 'BAD_OPTION', /k is a whole number from 1 to the 2 experts/);
});

come('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
});

async function weightsOf(folder: string): Promise<Map<string, Float32Array>> {
  using model = await StitchedModel.load(device, folder, { trainable: true });
  const found = new Map<string, Float32Array>();
  for (const { name, value } of model.trainable) found.set(name, await value.read());
  return found;
}

come.after(async () => {
  device.dispose();
  await rm(root, { recursive: true, force: true });
});

come.run();
