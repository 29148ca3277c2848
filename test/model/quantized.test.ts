/** Members whose matrices are held in 8 and 4 bits. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import { resumed } from '../../lib/cli/training/stitched-checkpoint.js';
import { addExperts, removeExperts } from '../../lib/model/change-experts.js';
import { stitchedCost } from '../../lib/model/cost/cost.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { loadModel } from '../../lib/model/load-model.js';
import { preflight } from '../../lib/model/members/preflight.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { quantizationOf } from '../../lib/model/transformer/quantization.js';
import type { Device } from '../../lib/tensor/device.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import { fails } from '../data/data-fixtures.js';
import { lowRank, writeAdapter } from '../support/adapters.js';
import { openCpu, shared } from '../support/devices.js';
import { inTemporaryFolder, runOutOfMemory, writeModel } from '../support/models.js';

const quantized = suite('quantized');
const IDS = Array.from({ length: 12 }, (_, i) => (i * 37) % 256);
const STORIES = shared('data/models/stories260K');

/** A hub, an expert and an adapter of the hub. */
async function withFamily(use: (device: Device, at: (name: string) => string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const at = (name: string) => join(folder, name);
    await writeModel(device, at('hub'));
    await writeModel(device, at('whole'), { seed: 2 });
    const layers = Object.fromEntries(
      [0, 1, 2].map((layer) => [`model.layers.${layer}.self_attn.v_proj`, [8, 16, 3]]),
    ) as Record<string, [number, number, number]>;
    const config = { base_model_name_or_path: '../hub', target_modules: ['v_proj'], r: 3, lora_alpha: 6 };
    await writeAdapter(at('small'), config, lowRank(layers, 1));
    await use(device, at);
  });
}

const largest = (a: Float32Array, b: Float32Array) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

quantized('members in different bits are stitched, trained, written and loaded', async () => {
  await withFamily(async (device, at) => {
    const experts = { whole: at('whole'), small: at('small') };
    const bits = { members: 'int8', quantize: { whole: 'int4' } } as const;
    using model = await StitchedModel.create(device, { hub: at('hub'), experts, stitches: 2, ...bits });
    using plain = await StitchedModel.create(device, { hub: at('hub'), experts, stitches: 2 });
    const difference = largest(await model.logits(IDS), await plain.logits(IDS));
    assert.ok(difference > 0 && difference < 1, `${difference}`);

    // What a training step changes: gradients flow through matrices in codes down to the first stitch.
    using scope = Scope.recording(device);
    const batch = { inputs: Int32Array.from(IDS), targets: Int32Array.from(IDS), tokens: 12, batch: 1 };
    const loss = await model.trainingLoss(scope, batch as never, 12, 1);
    scope.tape!.backward(loss);
    for (const { name, gradient } of model.trainable.slice(0, 1))
      assert.ok(
        (await gradient!.read()).some((x) => x !== 0),
        `${name} has no gradient`,
      );

    await mkdir(at('stitched'));
    await model.write(at('stitched'));
    using again = await loadModel(device, at('stitched'));
    assert.equal(await again.logits(IDS), await model.logits(IDS));
    using whole = await loadModel(device, at('stitched'), { members: 'files' });
    assert.equal(await whole.logits(IDS), await plain.logits(IDS));
  });
});

quantized('a stitched model remembers what its members are held in', async () => {
  await withFamily(async (device, at) => {
    const experts = { whole: at('whole') };
    const bits = { members: 'int8', quantize: { whole: 'int4' } } as const;
    const heldBy = (model: StitchedModel) => model.manifest.members.map(({ name, held }) => [name, held]);
    const typesOf = (model: StitchedModel) => model.transformer.members.map((m) => m.layer(1).up!.value.dtype);
    using model = await StitchedModel.create(device, { hub: at('hub'), experts, stitches: 2, ...bits });
    await mkdir(at('stitched'));
    await model.write(at('stitched'));
    using again = await StitchedModel.load(device, at('stitched'));
    assert.equal(typesOf(again), ['int8', 'int4']);
    // What is asked for is what is remembered from then on.
    using other = await StitchedModel.load(device, at('stitched'), { quantize: { whole: 'files' } });
    assert.equal(typesOf(other), ['int8', 'f32']);
    assert.equal(heldBy(other), [
      ['hub', 'int8'],
      ['whole', 'files'],
    ]);
    await writeModel(device, at('third'), { seed: 3 });
    using more = await addExperts(device, at('stitched'), { third: at('third') });
    assert.equal(typesOf(more), ['int8', 'int4', 'f32']);
    using adapted = await addExperts(device, at('stitched'), { small: at('small') });
    assert.equal(typesOf(adapted), ['int8', 'int4', 'int8']);
    using apart = await addExperts(device, at('stitched'), { small: at('small') }, { quantize: { small: 'files' } });
    assert.equal(typesOf(apart), ['int8', 'int4', 'f32']);
    using asked = await addExperts(
      device,
      at('stitched'),
      { third: at('third') },
      { quantize: { third: 'int4', whole: 'int8' } },
    );
    assert.equal(typesOf(asked), ['int8', 'int8', 'int4']);
    await mkdir(at('three'));
    await asked.write(at('three'));
    using fewer = await removeExperts(device, at('three'), ['whole']);
    assert.equal(heldBy(fewer), [
      ['hub', 'int8'],
      ['third', 'int4'],
    ]);
    using plain = await removeExperts(device, at('three'), ['whole'], { members: 'files' });
    assert.equal(typesOf(plain), ['f32', 'f32']);
    await fails(
      () => resumed(device, at('stitched'), { trainable: true, members: 'int4' }),
      'BAD_OPTION',
      /held as hub=int4 whole=int4, in '.*stitched' they are hub=int8 whole=int4\. Leave out --members/,
    );
    using resumedModel = await resumed(device, at('stitched'), { trainable: true });
    assert.equal(typesOf(resumedModel), ['int8', 'int4']);
    using same = await resumed(device, at('stitched'), { trainable: true, ...bits });
    assert.equal(typesOf(same), ['int8', 'int4']);
  });
});

quantized('a run is resumed with the bits that it began with, or any where a checkpoint does not say', async () => {
  await withFamily(async (device, at) => {
    using model = await StitchedModel.create(device, { hub: at('hub'), experts: { whole: at('whole') }, stitches: 2 });
    await mkdir(at('stitched'));
    await model.write(at('stitched'));
    const resume = () => resumed(device, at('stitched'), { trainable: true, members: 'int8' });
    await fails(resume, 'BAD_OPTION', /held as hub=int8 whole=int8, in '.*' they are hub=files whole=files/);
    const path = join(at('stitched'), 'bts.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    for (const member of manifest.members) delete member.held;
    await writeFile(path, JSON.stringify(manifest));
    using asked = await resume();
    assert.is(asked.transformer.members[1]!.layer(1).up!.value.dtype, 'int8');
  });
});

quantized('what it takes is told beforehand, and an adapter has the codes of its hub', async () => {
  await withFamily(async (device, at) => {
    const experts = { whole: at('whole'), small: at('small') };
    const { members } = await preflight(at('hub'), experts);
    for (const bits of [
      { members: 'int8' },
      { members: 'int4' },
      { members: 'int8', quantize: { small: 'int4' } },
    ] as const) {
      using model = await StitchedModel.create(device, { hub: at('hub'), experts, stitches: 2, ...bits });
      const cost = stitchedCost(
        {
          ...model.manifest,
          members: members.map(({ config }) => config!),
          adapters: members.map(({ adapter }) => adapter),
          quantized: quantizationOf(members, bits),
        },
        { batch: 1, tokens: 8 },
      );
      const stitches = model.trainable.reduce((sum, { value }) => sum + value.bytes, 0);
      const held = model.transformer.members.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.is(cost.weightBytes, held + stitches, JSON.stringify(bits));
    }
    using model = await StitchedModel.create(device, {
      hub: at('hub'),
      experts,
      stitches: 2,
      quantize: { hub: 'int8' },
    });
    const types = model.transformer.members.map((member) => member.layer(1).value!.value.dtype);
    assert.equal(types, ['int8', 'f32', 'int8']);
    assert.is(model.transformer.members[0]!.shared('embedding').value.dtype, 'f32');
  });
});

quantized('is refused with what to do', async () => {
  await withFamily(async (device, at) => {
    const { whole } = { whole: at('whole') };
    const create = (bits: object) => StitchedModel.create(device, { hub: at('hub'), experts: { whole }, ...bits });
    await fails(
      () => create({ members: 'int2' }),
      'BAD_OPTION',
      /members must be 'int8', 'int4' or 'files', not 'int2'/,
    );
    await fails(() => create({ quantize: { whol: 'int8' } }), 'BAD_OPTION', /no member 'whol'/);
    await fails(() => DenseModel.load(device, whole, { quantize: { hub: 'int8' } }), 'BAD_OPTION', /has no members/);
    await fails(
      () => DenseModel.load(device, whole, { members: 'int8', trainable: true }),
      'BAD_OPTION',
      /what is trained is f32/,
    );
    using model = await DenseModel.load(device, whole, { members: 'int8' });
    await fails(() => model.write(at('copy')), 'BAD_OPTION', /held in int8, which no checkpoint is written in/);
    const matrix = device.empty([4, 40], 'int4');
    await fails(
      () => Parameter.trainable(device, 'w', matrix),
      'BAD_OPTION',
      /w is held in int4: what is trained is f32/,
    );
  });
});

quantized('a number that is not finite is told with the name of its tensor', async () => {
  await withFamily(async (device, at) => {
    const path = join(at('whole'), 'model.safetensors');
    const name = 'model.layers.1.mlp.up_proj.weight';
    const { offset } = (await readSafetensors(path)).tensors.get(name)!;
    const bytes = await readFile(path);
    bytes.writeFloatLE(Number.NaN, offset + 4 * 18);
    await writeFile(path, bytes);
    await fails(
      () => DenseModel.load(device, at('whole'), { members: 'int4' }),
      'BAD_CHECKPOINT',
      /^model\.layers\.1\.mlp\.up_proj\.weight: .*number at \[1, 2\] is not finite/,
    );
  });
});

quantized('memory that runs out leaves nothing behind', async () => {
  await withFamily(async (device, at) => {
    assert.ok((await runOutOfMemory(device, () => DenseModel.load(device, at('whole'), { members: 'int8' }))) > 10);
  });
});

quantized('stories260K: the loss of what it writes is what it was, nearly', async () => {
  if (!existsSync(STORIES)) return console.log('stories260K: skipped, it is not here');
  using device = openCpu();
  using plain = await DenseModel.load(device, STORIES);
  // 16 stories that it tells itself: what it was trained on is not here.
  const tokens = 160;
  const inputs = new Int32Array(16 * tokens);
  const targets = new Int32Array(16 * tokens);
  for (let story = 0; story < 16; story++) {
    const ids = [1];
    for await (const { id } of plain.generate([1], { maxTokens: tokens, temperature: 1, seed: story, stop: [] }))
      ids.push(id);
    while (ids.length <= tokens) ids.push(-1);
    for (let t = 0; t < tokens; t++) {
      inputs[story * tokens + t] = Math.max(0, ids[t]!);
      targets[story * tokens + t] = ids[t + 1]!;
    }
  }
  const batch = { inputs, targets, batch: 16, tokens };
  const counted = targets.filter((id) => id >= 0).length;
  const loss = async (model: DenseModel) => (await model.losses(batch)).reduce((sum, x) => sum + x, 0) / counted;
  const before = await loss(plain);
  for (const [members, most] of [
    ['int8', 0.005],
    ['int4', 0.05],
  ] as const) {
    using model = await DenseModel.load(device, STORIES, { members });
    const more = (await loss(model)) - before;
    console.log(`stories260K in ${members}: ${more.toFixed(4)} beside ${before.toFixed(4)} over ${counted} tokens`);
    assert.ok(more <= most, `${members}: ${more}`);
  }
});

quantized.run();
