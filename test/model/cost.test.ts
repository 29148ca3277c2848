import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ModelConfig } from '../../lib/checkpoint/config.js';
import { planLora } from '../../lib/model/adapters/lora.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { adapterTraining } from '../../lib/model/cost/adapter-cost.js';
import {
  adaptedCost,
  type BatchSize,
  denseCost,
  forwardFlopsPerToken,
  layersFlops,
  parameterCount,
  stitchedCost,
  stitchParameterCount,
} from '../../lib/model/cost/cost.js';
import { DenseModel, type Freezable, trainableRoles } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { planStitches } from '../../lib/model/stitches/stitch-plan.js';
import { type QuantizeOptions, quantizationOf } from '../../lib/model/transformer/quantization.js';
import type { QuantizedType } from '../../lib/tensor/addon.js';
import type { Device } from '../../lib/tensor/device.js';
import { countFlops } from '../../lib/tensor/flops.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { callCli } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { type FlatConfig, flat, varied } from '../support/flat-config.js';
import { CONFIGS, inTemporaryFolder, randomTokens, writeModel } from '../support/models.js';

// The estimate is exact up to the allocator's size classes, an eighth at most, and small change.
const TOLERANCE = 0.1;

test('the stitches of the paper have 264,241,152 parameters', () => {
  const config = { ...CONFIGS.llama, width: 2048, layers: 18 };
  const shape = {
    plan: planStitches(18, 9),
    gate: 'channel',
    gateBias: false,
    expertsAfterMerge: 'projected',
  } as const;
  assert.is(stitchParameterCount({ members: [config, config, config, config], ...shape }), 264_241_152);
});

test('of rank 128, the stitches of the paper have a twelfth of them', async () => {
  const { systems } = JSON.parse((await callCli('params', '--config', 'paper', '--rank', '128', '--json')).stdout);
  assert.is(systems.at(-1).trained, 264_241_152 / 12);
});

test('parameters are counted as a model has them', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    for (const [family, config] of Object.entries(CONFIGS)) {
      using model = await DenseModel.load(device, await writeModel(device, join(folder, family), { config }), {
        trainable: true,
      });
      const counted = model.trainable.reduce((sum, { value }) => sum + value.size, 0);
      assert.is(parameterCount(config), counted, family);
    }
  });
});

test('operations of a forward pass, counted by hand', () => {
  // C 16, H 4, K 2, D 4, F 24, V 257, L 3; tokens see 1 to 8 keys, 4.5 on average.
  const layer = 2 * 16 * (2 * 16 + 2 * 8 + 3 * 24) + 4 * 4 * 4 * 4.5;
  assert.is(forwardFlopsPerToken(CONFIGS.llama, 8), 3 * layer + 2 * 257 * 16);
});

test('a sliding window bounds what attention costs', () => {
  const wide = varied(CONFIGS.mistral, { slidingWindow: null });
  const narrow = varied(wide, { slidingWindow: 2 });
  // Of four tokens the first sees one key, the others two instead of 2, 3 and 4.
  const saved = ((1 + 2 + 3 + 4 - (1 + 2 + 2 + 2)) / 4) * 3 * 4 * 4 * 4;
  assert.is(forwardFlopsPerToken(wide, 4) - forwardFlopsPerToken(narrow, 4), saved);
  assert.is(forwardFlopsPerToken(varied(wide, { slidingWindow: 100 }), 4), forwardFlopsPerToken(wide, 4));
});

test('where only some layers have a window, the others cost what they cost without', () => {
  const { gemma2 } = CONFIGS;
  const wide = { ...gemma2, attention: { ...gemma2.attention, window: null } };
  // Of eight tokens the last three see five keys instead of 6, 7 and 8, in two of the three layers.
  const saved = 2 * ((1 + 2 + 3) / 8) * 4 * 4 * 4;
  assert.is(forwardFlopsPerToken(wide, 8) - forwardFlopsPerToken(gemma2, 8), saved);
  const members = [gemma2, gemma2];
  const shape = { members, gate: 'channel', gateBias: false, expertsAfterMerge: 'projected' } as const;
  const cost = (members: ModelConfig[], afterLayer: number) =>
    stitchedCost({ ...shape, members, plan: [{ afterLayer, kind: 'experts_into_hub' }] }, { batch: 1, tokens: 8 });
  // Layers 0 and 2 have windows; only the hub computes layer 2.
  const difference = cost([wide, wide], 1).forwardFlops - cost(members, 1).forwardFlops;
  assert.is(difference, (saved / 2) * 3);
});

test('below the first stitch a training step costs as much as inference', () => {
  const members = [CONFIGS.llama, CONFIGS.llama];
  const shape = { members, gate: 'channel', gateBias: false, expertsAfterMerge: 'projected' } as const;
  const extra = (layers: number, afterLayer: number) => {
    const [hub, expert] = members.map((config) => ({ ...config, layers }));
    const plan = [{ afterLayer, kind: 'experts_into_hub' }] as const;
    const cost = stitchedCost({ ...shape, members: [hub!, expert!], plan: [...plan] }, { batch: 1, tokens: 8 });
    return cost.trainingFlops - cost.forwardFlops;
  };
  assert.is(extra(9, 9), extra(3, 3));
  assert.ok(extra(9, 3) > extra(9, 9));
});

const DENSE: [string, Partial<FlatConfig>, readonly Freezable[], base?: ModelConfig][] = [
  ['a dense model', {}, []],
  ['a dense model with head norms', flat(CONFIGS.qwen3), []],
  ['a dense model with much vocabulary', { vocabularySize: 5000 }, []],
  ['a dense model with frozen embeddings and head', { vocabularySize: 5000 }, ['embeddings', 'head']],
  ['a dense Gemma', {}, [], CONFIGS.gemma3_text],
  ['a dense OLMo', {}, [], CONFIGS.olmo2],
  ['a dense Phi', {}, [], CONFIGS.phi3],
];
const SIZE = {
  width: 64,
  feedForwardWidth: 172,
  layers: 6,
  heads: 8,
  keyValueHeads: 4,
  headWidth: 8,
  maxPositions: 64,
};
const BATCH = { batch: 4, tokens: 64 };

for (const [what, given, freeze, base = CONFIGS.llama] of DENSE) {
  test(`the memory of a training step of ${what} is estimated`, async () => {
    await inTemporaryFolder(async (folder) => {
      const config = resized(varied(base, { ...given, ...SIZE }), base);
      const model = await inOwnDevice((device) => writeModel(device, join(folder, 'model'), { config }));
      const trained = trainableRoles(config, { trainable: true, freeze });
      for (const recompute of ['never', 'always'] as const) {
        const expected = denseCost(config, { ...BATCH, recompute }, trained).trainingBytes;
        const peak = await peakOf((device) => DenseModel.load(device, model, { trainable: true, freeze }), recompute);
        close(expected, peak);
      }
    });
  });
}

const ADAPTED: [string, string, base?: ModelConfig, members?: QuantizedType][] = [
  ['an adapter', 'all-linear'],
  ['an adapter of two matrices', 'q_proj,v_proj'],
  ['an adapter of the feed-forward part', 'gate_proj,up_proj,down_proj'],
  ['an adapter of what leads into and out of layers', 'v_proj,o_proj,down_proj'],
  ['an adapter of a Phi', 'all-linear', CONFIGS.phi3],
  ['an adapter of a Gemma', 'all-linear', CONFIGS.gemma3_text],
  ['an adapter of a model in 8 bits', 'all-linear', CONFIGS.llama, 'int8'],
  ['an adapter of two matrices of a Phi in 4 bits', 'o_proj,down_proj', CONFIGS.phi3, 'int4'],
];
/** With matrices that are most of a step. */
const WIDE = { width: 256, feedForwardWidth: 640, headWidth: 32 };

for (const [what, targets, base = CONFIGS.llama, members] of ADAPTED) {
  test(`what training ${what} takes is estimated`, async () => {
    await inTemporaryFolder(async (folder) => {
      const config = resized(varied(base, { ...SIZE, ...(members && WIDE), dtype: 'BF16' }), base);
      const hub = await inOwnDevice((device) => writeModel(device, join(folder, 'hub'), { config, dtype: 'bf16' }));
      const options = { rank: 6, alpha: 6, targets: targets.split(','), members };
      const { adaptations } = planLora(config, hub, options);
      const adapter = adapterTraining(config, new Map([...adaptations].map(([name, { rank }]) => [name, rank])));
      for (const recompute of ['never', 'always'] as const) {
        const cost = adaptedCost({ config, quantized: members }, { ...BATCH, recompute }, adapter);
        let said = 0;
        let parameters = 0;
        const peak = await peakOf(async (device) => {
          const model = await DenseModel.adapt(device, hub, options);
          said = model.trainingBytes({ ...BATCH, recompute });
          parameters = model.trainable.reduce((sum, { value }) => sum + value.size, 0);
          return model;
        }, recompute);
        close(cost.trainingBytes, peak);
        assert.is(said, cost.trainingBytes);
        assert.is(cost.trainedParameters, parameters);
        assert.is(cost.parameters, parameterCount(config) + parameters);
      }
    });
  });
}

test('operations of training an adapter', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const config = { ...CONFIGS.llama, layers: 6 };
    const hub = await writeModel(device, join(folder, 'hub'), { config });
    const { adaptations } = planLora(config, hub, { rank: 6, alpha: 6, targets: ['all-linear'] });
    const adapter = adapterTraining(config, new Map([...adaptations].map(([name, { rank }]) => [name, rank])));
    const tokens = 24;
    const ids = randomTokens(tokens);
    using model = await DenseModel.adapt(device, hub, { rank: 6 });
    for (const recompute of ['never', 'always'] as const) {
      const cost = adaptedCost({ config }, { batch: 1, tokens, recompute }, adapter);
      assert.is(Math.round(cost.forwardFlops * tokens), await countFlops(device, () => model.logits(ids)));
      using scope = Scope.recording(device, { keep: recompute === 'always' ? 0 : Number.POSITIVE_INFINITY });
      const step = await countFlops(device, async () => {
        scope.backward(await model.trainingLoss(scope, { inputs: ids, targets: ids, batch: 1, tokens }, tokens, 0));
      });
      // What the first layer reads is the frozen embedding, which needs no gradient, and of which nothing is computed again.
      const { linear, attention } = layersFlops(config, tokens, 0, 1);
      const first = (linear + attention + adapter.flops / config.layers) * tokens;
      const more = cost.trainingFlops * tokens - step;
      assert.ok(more >= 0 && more < first, `${cost.trainingFlops * tokens} said, ${step} done`);
    }
  });
});

const STITCHED: [string, Partial<StitchOptions>, Partial<FlatConfig>, base?: ModelConfig, held?: QuantizeOptions][] = [
  ['one stitch at the end', { stitches: 1 }, {}],
  ['one stitch in the middle', { plan: [{ afterLayer: 3, kind: 'experts_into_hub' }] }, {}],
  ['alternating stitches', { stitches: 3 }, {}],
  [
    'stitches into the hub that leave the experts unchanged',
    { stitches: 3, alternate: false, expertsAfterMerge: 'unchanged' },
    {},
  ],
  ['scalar gates with a bias', { stitches: 2, gate: 'scalar', init: 'hub' }, {}],
  ['stitches of low rank', { stitches: 3, rank: 8 }, {}],
  [
    'stitches of low rank into the hub that leave the experts unchanged',
    { stitches: 3, rank: 40, alternate: false, expertsAfterMerge: 'unchanged' },
    {},
  ],
  ['stitches of low rank with scalar gates', { stitches: 2, rank: 8, gate: 'scalar', init: 'hub' }, {}],
  ['much vocabulary', { stitches: 2 }, { vocabularySize: 5000 }],
  ['members that are Gemmas', { stitches: 2 }, {}, CONFIGS.gemma2],
  ['members that are OLMos', { stitches: 2 }, {}, CONFIGS.olmo2],
  ['members in 8 bits', { stitches: 2 }, WIDE, CONFIGS.llama, { members: 'int8' }],
  ['members in 4 and 8 bits', { stitches: 2 }, WIDE, CONFIGS.phi3, { members: 'int4', quantize: { a: 'int8' } }],
];

for (const [what, options, given, base = CONFIGS.llama, held = {}] of STITCHED) {
  test(`the memory of a training step with ${what} is estimated`, async () => {
    await inTemporaryFolder(async (folder) => {
      const config = resized(varied(base, { ...SIZE, ...given, dtype: 'BF16' }), base);
      const [hub, a, b] = await inOwnDevice(async (device) => [
        await writeModel(device, join(folder, 'hub'), { config, dtype: 'bf16' }),
        await writeModel(device, join(folder, 'a'), { config, dtype: 'bf16', seed: 2 }),
        await writeModel(device, join(folder, 'b'), { config, dtype: 'bf16', seed: 3 }),
      ]);
      for (const recompute of ['never', 'always'] as const) {
        let expected = 0;
        const peak = await peakOf(async (device) => {
          const model = await StitchedModel.create(device, {
            hub: hub!,
            experts: { a: a!, b: b! },
            ...options,
            ...held,
          });
          const quantized = quantizationOf(model.manifest.members, held);
          const shape = { ...model.manifest, members: [config, config, config], quantized };
          assert.is(
            model.trainingBytes({ ...BATCH, recompute }),
            stitchedCost(shape, { ...BATCH, recompute }).trainingBytes,
          );
          expected = stitchedCost(shape, { ...BATCH, recompute }).trainingBytes;
          return model;
        }, recompute);
        close(expected, peak);
      }
    });
  });
}

/** A configuration with what makes its family. */
function resized(config: ModelConfig, { family, attention, feedForward, norm, embedding, logitSoftcap }: ModelConfig) {
  return {
    ...config,
    family,
    attention: { ...attention, ...config.attention, queryKeyNorm: attention.queryKeyNorm, softcap: attention.softcap },
    feedForward: { ...config.feedForward, activation: feedForward.activation },
    norm,
    embedding,
    logitSoftcap,
  };
}

/** The most bytes in use at once during an update. */
function peakOf(load: (device: Device) => Promise<LanguageModel>, recompute: BatchSize['recompute']): Promise<number> {
  return inOwnDevice(async (device) => {
    using model = await load(device);
    using optimizer = new AdamW(device, model.trainable);
    const ids = randomTokens(BATCH.batch * BATCH.tokens);
    // The first update also brings the rotary tables; what it holds stays for the second.
    for (let update = 0; update < 2; update++) {
      device.memory({ resetPeak: true });
      optimizer.zeroGradients();
      {
        using scope = Scope.recording(device, { keep: recompute === 'always' ? 0 : Number.POSITIVE_INFINITY });
        scope.backward(await model.trainingLoss(scope, { inputs: ids, targets: ids, ...BATCH }, ids.length, 1));
      }
      using norm = optimizer.gradientNorm();
      optimizer.update(norm, 1e-3);
      await device.synchronize();
    }
    return device.memory().peakBytes;
  });
}

async function inOwnDevice<T>(use: (device: Device) => Promise<T>): Promise<T> {
  using device = openCpu();
  return await use(device);
}

function close(expected: number, measured: number): void {
  const ratio = expected / measured;
  assert.ok(Math.abs(ratio - 1) <= TOLERANCE, `estimated ${expected}, measured ${measured}: ${ratio.toFixed(3)}`);
}

test.run();
