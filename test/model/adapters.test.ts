/** Members that are adapters of the hub: as whole models compute, and in the memory of one. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hashModel } from '../../lib/eval/results/model-hash.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import { writeSoup } from '../../lib/model/baselines/soup.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { addExperts, removeExperts } from '../../lib/model/change-experts.js';
import { stitchedCost } from '../../lib/model/cost/cost.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { preflight } from '../../lib/model/members/preflight.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { countFlops } from '../../lib/tensor/flops.js';
import { Scope } from '../../lib/tensor/scope.js';
import { fails } from '../data/data-fixtures.js';
import { lowRank, numbers, writeAdapter } from '../support/adapters.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, randomize, runOutOfMemory, writeModel } from '../support/models.js';

const adapters = suite('adapters');
const IDS = Array.from({ length: 12 }, (_, i) => (i * 37) % 256);

// [O, I] of the matrices of a tiny Llama.
const SHAPES = {
  'self_attn.q_proj': [16, 16],
  'self_attn.k_proj': [8, 16],
  'self_attn.v_proj': [8, 16],
  'self_attn.o_proj': [16, 16],
  'mlp.gate_proj': [24, 16],
  'mlp.up_proj': [24, 16],
  'mlp.down_proj': [16, 24],
} as const;
type Name = keyof typeof SHAPES;

/** Adapters of these matrices in all layers. */
const inLayers = (names: readonly Name[], rank: number, seed: number) =>
  lowRank(
    Object.fromEntries(
      [0, 1, 2].flatMap((layer) => names.map((name) => [`model.layers.${layer}.${name}`, [...SHAPES[name], rank]])),
    ) as Record<string, [number, number, number]>,
    seed,
  );

const ALL = Object.keys(SHAPES) as Name[];
const short = (names: readonly Name[]) => names.map((name) => name.split('.')[1]!);

/** A hub, an adapter of all matrices, one of two with a norm and the head of its own, and a whole expert. */
async function withFamily(use: (device: Device, at: (name: string) => string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const at = (name: string) => join(folder, name);
    await writeModel(device, at('hub'));
    await writeModel(device, at('whole'), { seed: 2 });
    const config = { base_model_name_or_path: '../hub', target_modules: short(ALL), r: 3, lora_alpha: 6 };
    await writeAdapter(at('all'), config, inLayers(ALL, 3, 1));
    const two: Name[] = ['self_attn.v_proj', 'mlp.down_proj'];
    await writeAdapter(
      at('two'),
      { ...config, target_modules: short(two), r: 1, modules_to_save: ['norm', 'post_attention_layernorm', 'lm_head'] },
      {
        ...inLayers(two, 1, 2),
        'model.norm.weight': numbers([16], 7, 2),
        'lm_head.weight': numbers([257, 16], 8),
        ...Object.fromEntries(
          [0, 1, 2].map((layer) => [`model.layers.${layer}.post_attention_layernorm.weight`, numbers([16], layer, 2)]),
        ),
      },
    );
    await use(device, at);
  });
}

/** The same model with what it adds part of its weights, as a checkpoint. */
async function merged(device: Device, adapter: string, to: string): Promise<string> {
  using model = await DenseModel.load(device, adapter, { trainable: true });
  await import('node:fs/promises').then(({ mkdir }) => mkdir(to));
  await model.write(to);
  return to;
}

const PLAN = { stitches: 2, seed: 5 } as const;
const stitched = (device: Device, hub: string, experts: StitchOptions['experts']) =>
  StitchedModel.create(device, { hub, experts, ...PLAN });

const furthest = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
// Sums of so few numbers of this size in another order.
const ROUNDING = 2e-5;

adapters('an adapter alone is what it is merged into its base', async () => {
  await withFamily(async (device, at) => {
    using hub = await DenseModel.load(device, at('hub'));
    const base = await hub.logits(IDS);
    for (const name of ['all', 'two']) {
      using model = await DenseModel.load(device, at(name));
      using whole = await DenseModel.load(device, await merged(device, at(name), at(`${name}-merged`)));
      const logits = await model.logits(IDS);
      assert.ok(furthest(logits, await whole.logits(IDS)) < ROUNDING, name);
      assert.ok(furthest(logits, base) > 0.1, `${name} does something`);
      assert.ok(model.tokenizer.encode('text').length > 0);
    }
  });
});

adapters('where memory runs out while adapters are loaded nothing is left', async () => {
  await withFamily(async (device, at) => {
    assert.ok((await runOutOfMemory(device, () => DenseModel.load(device, at('all')))) > 60);
    const members = { hub: at('hub'), experts: { all: at('all'), two: at('two') } };
    assert.ok((await runOutOfMemory(device, () => StitchedModel.create(device, members))) > 90);
  });
});

adapters('what is wrong with an adapter on the disk is told where it is loaded', async () => {
  await withFamily(async (device, at) => {
    const { load } = device;
    device.load = (file, ...rest) =>
      load.call(device, { ...file, stamp: file.path.includes('adapter') ? '0 0' : file.stamp! }, ...rest);
    await fails(() => DenseModel.load(device, at('all')), 'BAD_CHECKPOINT', /adapter_model.safetensors' was changed/);
  });
});

adapters('experts that are adapters are stitched as whole ones are: answers, gradients and tokens', async () => {
  await withFamily(async (device, at) => {
    const wholes = { a: await merged(device, at('all'), at('a')), b: await merged(device, at('two'), at('b')) };
    using lean = await stitched(device, at('hub'), { a: at('all'), w: at('whole'), b: at('two') });
    using full = await stitched(device, at('hub'), { a: wholes.a, w: at('whole'), b: wholes.b });
    for (const model of [lean, full]) randomize(model, 3);
    assert.ok(furthest(await lean.logits(IDS), await full.logits(IDS)) < ROUNDING);
    const gradients = [];
    for (const model of [lean, full]) {
      using scope = Scope.recording(device);
      const [inputs, targets] = [Int32Array.from(IDS.slice(0, -1)), Int32Array.from(IDS.slice(1))];
      const batch = { inputs, targets, batch: 1, tokens: inputs.length };
      scope.backward(await model.trainingLoss(scope, batch, inputs.length, 0));
      gradients.push(await Promise.all(model.trainable.map(({ gradient }) => gradient!.read())));
    }
    for (const [i, gradient] of gradients[0]!.entries()) {
      assert.ok(furthest(gradient, gradients[1]![i]!) < ROUNDING, lean.trainable[i]!.name);
    }
    const answers = [];
    for (const model of [lean, full]) {
      const ids = [];
      for await (const { id } of model.generate(IDS, { maxTokens: 8, stopTokens: [] })) ids.push(id);
      answers.push(ids);
    }
    assert.equal(answers[0], answers[1]);
  });
});

adapters('an adapter of full rank is the whole expert, within rounding', async () => {
  await withFamily(async (device, at) => {
    // B is the identity, so A is the difference itself.
    using hub = await DenseModel.load(device, at('hub'), { trainable: true });
    using whole = await DenseModel.load(device, at('whole'), { trainable: true });
    const tensors: Record<string, { shape: number[]; data: Float32Array }> = {};
    const saved = new Set<string>();
    for (const [i, { name, value }] of whole.trainable.entries()) {
      const [own, hubs] = [await value.read(), await hub.trainable[i]!.value.read()];
      const [outputs = 0, inputs = 0] = value.shape;
      const module = name.replace(/\.weight$/, '');
      if (!module.endsWith('_proj')) {
        tensors[name] = { shape: [...value.shape], data: own };
        saved.add(module.split('.').at(-1)!);
        continue;
      }
      const identity = new Float32Array(outputs * outputs).map((_, j) => (j % (outputs + 1) === 0 ? 1 : 0));
      tensors[`${module}.lora_A.weight`] = { shape: [outputs, inputs], data: own.map((x, j) => x - hubs[j]!) };
      tensors[`${module}.lora_B.weight`] = { shape: [outputs, outputs], data: identity };
    }
    const rank_pattern = { '.*(q_proj|o_proj|down_proj)': 16, '.*(k_proj|v_proj)': 8, '.*(gate_proj|up_proj)': 24 };
    const config = {
      target_modules: 'all-linear',
      rank_pattern,
      alpha_pattern: rank_pattern,
      modules_to_save: [...saved],
    };
    await writeAdapter(at('full-rank'), { ...config, base_model_name_or_path: '../hub' }, tensors);
    using adapted = await DenseModel.load(device, at('full-rank'));
    assert.ok(furthest(await adapted.logits(IDS), await whole.logits(IDS)) < ROUNDING);
  });
});

adapters("the hub's weights are in memory once, beside what adapters add", async () => {
  await withFamily(async (device, at) => {
    const live = async (experts: Record<string, string>) => {
      const before = device.memory().liveBytes;
      using model = await stitched(device, at('hub'), experts);
      const stitches = model.trainable.reduce((sum, { value }) => sum + 2 * value.bytes, 0);
      const members = model.transformer.members.reduce((sum, { bytes }) => sum + bytes, 0);
      const held = device.memory().liveBytes - before - stitches;
      // Blocks are whole lines of a cache.
      assert.ok(Math.abs(held - members) < 0.2 * members, `${held} bytes, ${members} said`);
      return members;
    };
    const hub = 4 * 14_096;
    assert.is(await live({ a: at('all') }), hub + 4 * 3 * 3 * (32 + 24 + 24 + 32 + 40 + 40 + 40));
    assert.is(await live({ a: at('all'), again: at('all') }), hub + 2 * 4 * 3 * 3 * (32 + 24 + 24 + 32 + 40 + 40 + 40));
    assert.is(await live({ a: at('whole') }), hub + 4 * (14_096 - 257 * 16 - 16));
  });
});

adapters('rows that are computed alone do not depend on each other', async () => {
  await withFamily(async (device, at) => {
    using model = await stitched(device, at('hub'), { a: at('all'), b: at('two') });
    randomize(model, 3);
    const prompts = [IDS, IDS.slice(3), IDS.slice(0, 5)];
    const alone = [];
    for (const prompt of prompts) {
      const ids: number[] = [];
      for await (const { id } of model.generate(prompt, { maxTokens: 10, temperature: 1, seed: 4, stopTokens: [] }))
        ids.push(id);
      alone.push(ids);
    }
    const together: number[][] = prompts.map(() => []);
    for await (const { id, index } of model.generate(prompts, {
      maxTokens: 10,
      temperature: 1,
      seed: 4,
      stopTokens: [],
    })) {
      together[index]!.push(id);
    }
    assert.equal(together, alone);
  });
});

adapters('a stitched model knows its adapters again', async () => {
  await withFamily(async (device, at) => {
    const folder = at('stitched');
    let before: Float32Array;
    {
      using model = await stitched(device, at('hub'), { a: at('all'), b: at('two') });
      randomize(model, 3);
      before = await model.logits(IDS);
      await import('node:fs/promises').then(({ mkdir }) => mkdir(folder));
      await model.write(folder);
    }
    {
      using model = await StitchedModel.load(device, folder);
      assert.equal(await model.logits(IDS), before);
    }
    {
      using wider = await addExperts(device, folder, { w: at('whole') });
      assert.equal(await wider.logits(IDS), before);
      using narrower = await removeExperts(device, folder, ['b']);
      assert.equal(narrower.memberNames, ['hub', 'a']);
    }
    const config = join(at('all'), 'adapter_config.json');
    const json = await readFile(config, 'utf8');
    await writeFile(config, json.replace('"lora_alpha":6', '"lora_alpha":7'));
    await fails(() => StitchedModel.load(device, folder), 'MEMBER_CHANGED', /the adapter of member 'a'/);
    await writeFile(config, json);
    await copyFile(join(at('two'), 'adapter_model.safetensors'), join(at('all'), 'adapter_model.safetensors'));
    await fails(() => StitchedModel.load(device, folder), 'BAD_ADAPTER', /q_proj.lora_A.weight" is missing/);
  });
});

adapters('an adapter of another base is refused where that can be known', async () => {
  await withFamily(async (device, at) => {
    await fails(
      () => stitched(device, at('whole'), { a: at('all') }),
      'BAD_ADAPTER',
      /weights are not those of the hub/,
    );
    await fails(
      () => stitched(device, at('all'), { w: at('whole') }),
      'BAD_ADAPTER',
      /the hub has to be a whole checkpoint/,
    );
    await writeModel(device, at('wide'), {
      config: { ...CONFIGS.llama, width: 32, attention: { ...CONFIGS.llama.attention, headWidth: 8 } },
    });
    await fails(
      () => stitched(device, at('wide'), { a: at('all') }),
      'BAD_ADAPTER',
      /lora_A.weight" is \[3,16\], not \[3,32\]/,
    );
    const { findings } = await preflight(at('whole'), { a: at('all') });
    assert.equal(
      findings.map(({ code, member }) => [code, member]),
      [['BAD_ADAPTER', 'a']],
    );
  });
});

adapters('what is known of a base by its name alone is said', async () => {
  await withFamily(async (device, at) => {
    const named = async (name: string, base: string) => {
      await writeAdapter(
        at(name),
        { base_model_name_or_path: base, r: 1 },
        inLayers(['self_attn.q_proj', 'self_attn.v_proj'], 1, 4),
      );
      return (await preflight(at('hub'), { a: at(name) })).findings.map(({ code }) => code);
    };
    assert.equal(await named('b', 'someone/hub'), []);
    assert.equal(await named('c', 'someone/other'), ['UNKNOWN_BASE']);
    using model = await stitched(device, at('hub'), { c: at('c') });
    assert.is(model.memberNames.length, 2);
  });
});

adapters('the check tells what adapters add, and what is executed', async () => {
  await withFamily(async (device, at) => {
    const { members, findings } = await preflight(at('hub'), { a: at('all'), w: at('whole'), b: at('two') });
    assert.equal(findings, []);
    const [, a, w, b] = members;
    assert.equal([a!.parameters, a!.adapter!.bytes, a!.adapter!.ranks], [9 * 232, 4 * 9 * 232, [3, 3]]);
    assert.is(w!.adapter, null);
    assert.is(b!.parameters, 3 * (24 + 40) + 16 + 3 * 16 + 257 * 16);
    assert.is(b!.adapter!.bytes, 4 * (3 * (24 + 40) + 3 * 16));
    using model = await stitched(device, at('hub'), { a: at('all'), w: at('whole'), b: at('two') });
    const tokens = IDS.length;
    const costs = stitchedCost(
      {
        ...model.manifest,
        members: members.map(({ config }) => config!),
        adapters: members.map(({ adapter }) => adapter),
      },
      { batch: 1, tokens },
    );
    const forward = await countFlops(device, () => model.logits(IDS));
    assert.is(Math.round(costs.forwardFlops * tokens), forward);
    const inputs = Int32Array.from(IDS);
    using scope = Scope.recording(device);
    const step = await countFlops(device, async () => {
      scope.backward(await model.trainingLoss(scope, { inputs, targets: inputs, batch: 1, tokens }, tokens, 0));
    });
    assert.ok(Math.abs(costs.trainingFlops * tokens - step) < 1e-9 * step, `${costs.trainingFlops * tokens}, ${step}`);
    assert.is(
      costs.weightBytes,
      4 * 14_096 + a!.adapter!.bytes + b!.adapter!.bytes + 4 * (14_096 - 257 * 16 - 16) + 4 * costs.trainedParameters,
    );
  });
});

adapters('other systems take adapters for the models that they make', async () => {
  await withFamily(async (device, at) => {
    const experts = { a: at('all'), b: at('two') };
    const wholes = { a: await merged(device, at('all'), at('a')), b: await merged(device, at('two'), at('b')) };
    await writeSoup(device, at('soup'), { hub: at('hub'), experts });
    await writeSoup(device, at('soup-of-wholes'), { hub: at('hub'), experts: wholes });
    const logits = async (model: { logits: DenseModel['logits'] } & Disposable) => {
      using owned = model;
      return await owned.logits(IDS);
    };
    type Any = DenseModel | EnsembleModel | MixtureModel | RoutedModel;
    const same = async (one: Promise<Any>, other: typeof one) =>
      assert.ok(furthest(await logits(await one), await logits(await other)) < ROUNDING);
    await same(DenseModel.load(device, at('soup')), DenseModel.load(device, at('soup-of-wholes')));
    const both = (create: (experts: Record<string, string>) => Promise<Any>) => same(create(experts), create(wholes));
    await both((experts) => EnsembleModel.create(device, { hub: at('hub'), experts }));
    const routed = new Set<string>();
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const route = async (experts: Record<string, string>) => {
        const model = await RoutedModel.create(device, { hub: at('hub'), experts });
        randomize(model, seed);
        return model;
      };
      await both(route);
      routed.add(`${await logits(await route(experts))}`);
    }
    assert.is(routed.size, 3, 'each of the members was chosen');
    for (const system of ['btx-soft', 'bam', 'bam-adapters'] as const) {
      await both((experts) => MixtureModel.create(device, system, { hub: at('hub'), experts }));
    }
    assert.is.not(await hashModel(at('all')), await hashModel(at('two')));
  });
});

adapters.run();
