/** Adapters that are trained: how they begin, their gradients, what is written. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exists } from '../../lib/base/file.js';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import { readCheckpoint } from '../../lib/checkpoint/shards.js';
import { type AdaptOptions, DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { isTrained } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import { fails } from '../data/data-fixtures.js';
import { lowRank, numbers, writeAdapter } from '../support/adapters.js';
import { devices, openCpu, shared } from '../support/devices.js';
import {
  CONFIGS,
  close,
  inTemporaryFolder,
  liveBytes,
  randomize,
  randomTokens,
  runOutOfMemory,
  writeModel,
} from '../support/models.js';
import { runTraining } from '../support/training.js';

const lora = suite('lora');
const device = openCpu();
lora.after(() => device.dispose());

const ids = randomTokens(2 * 9);
const batch = { inputs: ids, targets: randomTokens(ids.length, 2), batch: 2, tokens: 9 };

/** The names of what is trained, without what all of them begin and end with. */
const trained = (model: DenseModel) =>
  model.trainable.map(({ name }) => name.replace('base_model.model.model.layers.', '').replace(/\.weight$/, ''));

async function withHub(use: (hub: string, at: (name: string) => string) => Promise<void>, config = CONFIGS.llama) {
  await inTemporaryFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    await use(await writeModel(device, at('hub'), { config }), at);
  });
}

async function written(model: DenseModel, folder: string, dtype?: 'f32' | 'bf16'): Promise<string> {
  await mkdir(folder);
  await model.write(folder, dtype);
  return folder;
}

const adapterFile = async (folder: string) =>
  (await readSafetensors(join(folder, 'adapter_model.safetensors'))).tensors;

lora('a new adapter changes nothing; A is uniform as far as one by the root of its inputs, B zero', async () => {
  await withHub(async (hub) => {
    using model = await DenseModel.adapt(device, hub, { rank: 5 });
    using plain = await DenseModel.load(device, hub);
    assert.equal(await model.logits(ids, 2), await plain.logits(ids, 2));
    assert.is(model.trainable.length, 2 * 7 * 3);
    for (const { name, value } of model.trainable) {
      const all = await value.read();
      if (name.endsWith('lora_B.weight')) {
        assert.ok(all.every((x) => x === 0));
        continue;
      }
      const bound = 1 / Math.sqrt(value.shape[1]!);
      const most = Math.max(...all.map(Math.abs));
      assert.ok(most <= bound && most > 0.8 * bound, `${name} reaches ${most} of ${bound}`);
      const square = all.reduce((sum, x) => sum + x * x, 0) / all.length;
      // A variance of bound^2 / 3, within four of its own deviations.
      assert.ok(Math.abs((3 * square) / bound ** 2 - 1) < (4 * Math.sqrt(0.8)) / Math.sqrt(all.length), name);
    }
  });
});

lora('the same seed begins with the same numbers, another with others', async () => {
  await withHub(async (hub) => {
    const first = async (seed: number) => {
      using model = await DenseModel.adapt(device, hub, { rank: 2, seed });
      const values = await Promise.all(model.trainable.map(({ value }) => value.read()));
      assert.is(
        new Set(values.map(String)).size,
        values.length / 2 + 3,
        'every A has numbers of its own, B zeros in three shapes',
      );
      return values;
    };
    assert.equal(await first(3), await first(3));
    assert.not.equal(await first(3), await first(4));
  });
});

lora('targets are ends of names; every matrix of the layers is the default', async () => {
  await withHub(async (hub) => {
    const names = async (options: Omit<AdaptOptions, 'rank'>) => {
      using model = await DenseModel.adapt(device, hub, { rank: 2, ...options });
      return trained(model);
    };
    const some = await names({ targets: ['q_proj', 'mlp.up_proj'] });
    assert.equal(some.slice(0, 4), [
      '0.self_attn.q_proj.lora_A',
      '0.self_attn.q_proj.lora_B',
      '0.mlp.up_proj.lora_A',
      '0.mlp.up_proj.lora_B',
    ]);
    assert.is(some.length, 12);
    assert.equal(await names({ targets: 'q_proj,mlp.up_proj' }), some);
    assert.equal(await names({}), await names({ targets: 'all-linear' }));
    assert.equal(await names({ targets: ['lm_head'] }), [
      'base_model.model.lm_head.lora_A',
      'base_model.model.lm_head.lora_B',
    ]);
  });
});

for (const [family, config] of Object.entries(CONFIGS)) {
  lora(`${family}: gradients of A and B are those of differences of the loss`, async () => {
    await withHub(async (hub) => {
      using model = await DenseModel.adapt(device, hub, { rank: 2, alpha: 3 });
      randomize(model, 4);
      {
        using scope = Scope.recording(device);
        scope.backward(model.trainingLoss(scope, batch, ids.length, 0));
      }
      const step = 2 ** -8;
      for (const { name, value, gradient } of model.trainable) {
        const [before, slope] = [await value.read(), await gradient!.read()];
        // Along the gradient, where the difference is largest beside the rounding of the loss.
        const length = Math.hypot(...slope);
        assert.ok(length > 1e-3, `${name} has no gradient`);
        const at = async (size: number) => {
          value.write(before.map((x, i) => x + (size * slope[i]!) / length));
          return await model.loss(batch);
        };
        const difference = async (size: number) => ((await at(size)) - (await at(-size))) / (2 * size);
        const [coarse, fine] = [await difference(step), await difference(step / 2)];
        value.write(before);
        // Beside what halving the step changed stands a rounding of either loss, which is less than 8.
        const allowed = Math.abs(coarse - fine) + 2 ** -20 / step;
        assert.ok(Math.abs(fine - length) <= allowed, `${name}: ${length}, differences say ${fine} (${allowed})`);
      }
    }, config);
  });
}

lora('gradients are the same on every device, as far as it rounds', async () => {
  await withHub(async (hub) => {
    const gradientsOn = async (on: Device) => {
      using model = await DenseModel.adapt(on, hub, { rank: 3, alpha: 4 });
      randomize(model, 4);
      using scope = Scope.recording(on, { keep: 0 });
      scope.backward(model.trainingLoss(scope, batch, ids.length, 0));
      return await Promise.all(model.trainable.map(({ gradient }) => gradient!.read()));
    };
    const expected = await gradientsOn(device);
    const all = (gradients: Float32Array[]) => gradients.flatMap((gradient) => [...gradient]);
    for (const other of devices()) {
      using _ = other;
      const [found, wanted] = [all(await gradientsOn(other)), all(expected)];
      const off = Math.hypot(...found.map((x, i) => x - wanted[i]!)) / Math.hypot(...wanted);
      // Numbers in bf16 are a 256th off; a gradient passes a dozen of them in each of three layers, there and back.
      assert.ok(off < (other.precision === 'bf16' ? 72 / 256 : 1e-4), `${other.label}: ${off}`);
    }
  }, CONFIGS.phi3);
});

lora(
  'the loss falls, the base stays, and what is written computes the very same: alone, and as an expert',
  async () => {
    await withHub(async (hub, at) => {
      using model = await DenseModel.adapt(device, hub, { rank: 3, alpha: 6 });
      const before = await readFile(join(hub, 'model.safetensors'));
      const events = await runTraining(model, { folder: at('adapter'), steps: 40, learningRate: 2e-2 });
      const losses = events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
      assert.ok(losses.at(-1)! < losses[0]! - 0.3, `${losses[0]} fell to ${losses.at(-1)} only`);
      assert.ok((await readFile(join(hub, 'model.safetensors'))).equals(before));
      assert.equal((await readdir(at('adapter'))).sort(), ['adapter_config.json', 'adapter_model.safetensors']);
      const logits = await model.logits(ids, 2);
      using alone = await DenseModel.load(device, at('adapter'));
      assert.equal(await alone.logits(ids, 2), logits);
      using named = await DenseModel.load(device, at('adapter'), { base: hub });
      assert.equal(await named.logits(ids, 2), logits);

      using stitched = await StitchedModel.create(device, { hub, experts: { code: at('adapter') }, stitches: 1 });
      const [own, expert] = stitched.transformer.members.map(({ parameters }) => parameters);
      assert.is(own!.filter(({ adapter }) => adapter).length, 0);
      for (const { name, adapter } of expert!) {
        if (!adapter) continue;
        for (const part of [adapter.down, adapter.up]) {
          const same = model.trainable.find((parameter) => parameter.name === part.name)!;
          assert.equal(await part.value.read(), await same.value.read(), name);
        }
        assert.is(adapter.scale, 2);
      }
    });
  },
);

lora('an adapter is trained further as it was written, with what it saved whole', async () => {
  await withHub(async (hub, at) => {
    const config = {
      base_model_name_or_path: '../hub',
      use_rslora: true,
      modules_to_save: ['norm'],
      peft_version: '1',
    };
    const matrices = [0, 1, 2].flatMap((layer): [string, [number, number, number]][] => [
      [`model.layers.${layer}.self_attn.q_proj`, [16, 16, 2]],
      [`model.layers.${layer}.self_attn.v_proj`, [8, 16, 2]],
    ]);
    const tensors = { ...lowRank(Object.fromEntries(matrices), 1), 'model.norm.weight': numbers([16], 5) };
    const folder = await writeAdapter(at('given'), config, tensors);
    using model = await DenseModel.load(device, folder, { trainable: 'adapter' });
    assert.is(model.trainable.length, 12);
    const again = await written(model, at('again'));
    const json = async (place: string) => JSON.parse(await readFile(join(place, 'adapter_config.json'), 'utf8'));
    assert.equal(await json(again), await json(folder));
    assert.equal(
      await readFile(join(again, 'adapter_model.safetensors')),
      await readFile(join(folder, 'adapter_model.safetensors')),
    );
    const first = await model.loss(batch);
    await runTraining(model, { folder: at('further'), steps: 3, learningRate: 1e-2 });
    using further = await DenseModel.load(device, at('further'), { base: hub });
    assert.is(await further.loss(batch), await model.loss(batch));
    assert.is.not(await model.loss(batch), first);
    assert.equal((await json(at('further'))).modules_to_save, ['norm']);
  });
});

lora('an adapter in bf16 is trained in f32, and written as asked', async () => {
  await withHub(async (hub, at) => {
    using model = await DenseModel.adapt(device, hub, { rank: 3 });
    randomize(model, 2);
    const narrow = await written(model, at('narrow'), 'bf16');
    for (const { dtype } of (await adapterFile(narrow)).values()) assert.is(dtype, 'BF16');
    using read = await DenseModel.load(device, narrow, { trainable: 'adapter' });
    for (const { value } of read.trainable) assert.is(value.dtype, 'f32');
    close(await read.logits(ids), await model.logits(ids), 0.02);
    // Frozen it stays what it is.
    using frozen = await DenseModel.load(device, narrow);
    const again = await written(frozen, at('again'));
    assert.equal(
      await readFile(join(again, 'adapter_model.safetensors')),
      await readFile(join(narrow, 'adapter_model.safetensors')),
    );
  });
});

lora(
  "what is in memory is the base's weights in the precision of their file, and A and B with what trains them",
  async () => {
    await withHub(async (hub, at) => {
      await writeModel(device, at('bf16'), {
        dtype: 'bf16',
        config: { ...CONFIGS.llama, width: 64, vocabularySize: 512 },
      });
      assert.ok(await exists(hub));
      const before = await liveBytes(device);
      using model = await DenseModel.adapt(device, at('bf16'), { rank: 4 });
      const parts = model.trainable.reduce((sum, { value }) => sum + value.bytes, 0);
      const base = [...(await readCheckpoint(at('bf16'))).values()].reduce((sum, { bytes }) => sum + bytes, 0);
      const held = (await liveBytes(device)) - before;
      // Blocks are whole lines of a cache.
      assert.ok(Math.abs(held / (base + 2 * parts) - 1) < 0.1, `${held} bytes for ${base} and twice ${parts}`);
      for (const { gradient, adapter } of model.transformer.members[0]!.parameters) {
        assert.is(gradient, undefined);
        assert.ok(!adapter || isTrained(adapter));
      }
    });
  },
);

lora('where memory runs out while an adapter is begun nothing is left', async () => {
  await withHub(async (hub) => {
    assert.ok((await runOutOfMemory(device, () => DenseModel.adapt(device, hub, { rank: 2 }))) > 60);
  });
});

lora('what cannot be is told', async () => {
  await withHub(async (hub, at) => {
    const adapt = (options: object) => DenseModel.adapt(device, hub, { rank: 2, ...options } as AdaptOptions);
    await fails(() => adapt({ rank: 0 }), 'BAD_OPTION', /rank must be a whole number from 1/);
    await fails(() => adapt({ alpha: -1 }), 'BAD_OPTION', /alpha must be a positive number/);
    await fails(() => adapt({ ranks: 1 }), 'BAD_OPTION', /has no option 'ranks'/);
    await fails(() => adapt({ targets: ['q_proj', 'c_attn'] }), 'BAD_OPTION', /"c_attn" names nothing .*q_proj/);
    await fails(() => adapt({ targets: ['embed_tokens'] }), 'BAD_OPTION', /of embeddings that is not supported/);
    await fails(() => adapt({ targets: ['norm'] }), 'BAD_OPTION', /which is no matrix/);
    await fails(
      () => adapt({ targets: [] }),
      'BAD_OPTION',
      /targets: expected at least one|targets must be at least one/,
    );
    await fails(() => adapt({ rank: 2 ** 21 }), 'BAD_OPTION', /an adapter of '.*hub': r: /);
    using model = await adapt({});
    const folder = await written(model, at('adapter'));
    await fails(() => DenseModel.adapt(device, folder, { rank: 2 }), 'BAD_ADAPTER', /is an adapter/);
    await fails(() => DenseModel.load(device, hub, { trainable: 'adapter' }), 'BAD_OPTION', /is a whole model/);
    const frozen = { trainable: 'adapter', freeze: ['norms'] } as const;
    await fails(() => DenseModel.load(device, folder, frozen), 'BAD_OPTION', /freeze holds parts/);
  });
});

lora('files have the names, shapes and keys of those that PEFT wrote', async () => {
  const golden = shared('goldens-next/adapters/lora-experts') ?? '';
  if (!(await exists(golden))) return console.log(`skipped: no adapters of PEFT in ${golden}`);
  await inTemporaryFolder(async (folder) => {
    const targets = ['q_proj,v_proj', 'all-linear'];
    for (const [i, rank] of [4, 8].entries()) {
      using model = await DenseModel.adapt(device, join(golden, 'hub'), { rank, alpha: 8, targets: targets[i]! });
      const [own, theirs] = [await written(model, join(folder, `${rank}`)), join(golden, `expert-${i + 1}`)];
      const layout = async (place: string) =>
        [...(await adapterFile(place)).values()].map(({ name, dtype, shape }) => [name, dtype, shape]);
      assert.equal(await layout(own), await layout(theirs));
      const json = async (place: string) => JSON.parse(await readFile(join(place, 'adapter_config.json'), 'utf8'));
      const [mine, peft] = [await json(own), await json(theirs)];
      // Of what differs in meaning, they were begun otherwise and lie elsewhere.
      const same = (key: string) => !['base_model_name_or_path', 'init_lora_weights', 'target_modules'].includes(key);
      for (const key of Object.keys(mine)) assert.ok(key in peft, `${key} is a key of PEFT's`);
      for (const key of Object.keys(mine).filter(same)) assert.equal(mine[key], peft[key], key);
      assert.equal([...mine.target_modules].sort(), [...peft.target_modules].sort());
      // What PEFT says beside is what it takes where nothing is said.
      if (i === 0) for (const key of Object.keys(peft)) assert.ok(key in mine || isNothing(key, peft[key]), key);
    }
  });
});

const DEFAULTS: Record<string, unknown> = { megatron_core: 'megatron.core', qalora_group_size: 16 };
const isNothing = (key: string, value: unknown) =>
  key === 'peft_version' || !value || DEFAULTS[key] === value || Object.keys(value).length === 0;

lora.run();
