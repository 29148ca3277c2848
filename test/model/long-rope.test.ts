/** LongRoPE: all of a sequence is rotated as its length asks, whether it came at once or token by token. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ropeEverywhere } from '../../lib/checkpoint/model-config.js';
import { attentionFactor, type Rope } from '../../lib/checkpoint/rope-config.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import type { DecoderModel } from '../../lib/model/decoder-model.js';
import { appendTokens, eachPlace } from '../../lib/model/decoding/append-tokens.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import {
  RopeTables,
  ropeFrequencies,
  ropeLimits,
  stageOf,
  stageStart,
} from '../../lib/model/transformer/rope-tables.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, close, difference, liveBytes, randomize, randomTokens, writeModel } from '../support/models.js';

const longRope = suite('LongRoPE');
const device = openCpu();
const root = await mkdtemp(join(tmpdir(), 'bts-long-rope-'));
const config = (originalMaxPositions: number) => {
  const { maxPositions } = CONFIGS.phi3;
  const rope: Rope = {
    kind: 'longrope',
    theta: 100,
    shortFactors: [1, 1.2],
    longFactors: [3, 2],
    attentionFactor: attentionFactor(maxPositions / originalMaxPositions, originalMaxPositions),
    originalMaxPositions,
  };
  return { ...CONFIGS.phi3, rope: ropeEverywhere(rope, 4) };
};
const limitless = { ...CONFIGS.phi3, rope: ropeEverywhere(CONFIGS.phi3.rope.global, 4) };
const V = CONFIGS.phi3.vocabularySize;
const [FIRST, SECOND] = [9, 13];
const hub = await writeModel(device, join(root, 'hub'), { config: config(FIRST) });
const code = await writeModel(device, join(root, 'code'), { config: config(SECOND), seed: 2 });
const math = await writeModel(device, join(root, 'math'), { config: limitless, seed: 3 });
const experts = { code, math };

function random<Model extends StitchedModel | MixtureModel>(model: Model): Model {
  randomize(model, 5);
  return model;
}
const systems: [name: string, () => Promise<DecoderModel>][] = [
  ['a dense model', () => DenseModel.load(device, hub)],
  ['stitched models of different limits', async () => random(await StitchedModel.create(device, { hub, experts }))],
  [
    'stitched models of which one has a limit',
    async () => random(await StitchedModel.create(device, { hub: math, experts: { code } })),
  ],
  ['a mixture', async () => random(await MixtureModel.create(device, 'bam', { hub, experts: { code } }))],
];

/** Logits that follow a sequence, computed from scratch. */
async function lastLogits(model: LanguageModel, ids: readonly number[]): Promise<Float32Array> {
  return (await model.logits(ids)).subarray(-V);
}

for (const [name, open] of systems) {
  longRope(`${name}: through a cache follows what follows from scratch, before a limit and beyond`, async () => {
    using model = await open();
    const ids = [...randomTokens(24)];
    for (const sizes of [Array<number>(24).fill(1), [3, 5, 4, 9, 1, 2], [8, 1, 1, 14]]) {
      using cache = model.createCache(1, 24);
      let length = 0;
      for (const size of sizes) {
        const logits = await model.extend(cache, ids.slice(length, length + size));
        length += size;
        close(logits, await lastLogits(model, ids.slice(0, length)), 1e-5, `after ${length} tokens`);
      }
    }
  });

  longRope(`${name}: each sequence of a batch has its own length, and may be cut and go on`, async () => {
    using model = await open();
    const sequences = [2, 7, 11, 16].map((length, b) => [...randomTokens(length, b)]);
    using cache = model.createCache(sequences.length, 40);
    await appendTokens(model, cache, sequences);
    const check = async (ends: number[][]) => {
      const places = ends.map(({ length }, sequence) => ({ sequence, index: length - 1 }));
      const got: Float32Array[] = [];
      await appendTokens(
        model,
        cache,
        ends,
        places,
        eachPlace((logits) => got.push(logits.slice())),
      );
      for (const [b, end] of ends.entries()) {
        sequences[b]!.push(...end);
        close(got[b]!, await lastLogits(model, sequences[b]!), 1e-5, `sequence ${b} of ${sequences[b]!.length}`);
      }
    };
    await check([[1], [2, 3, 4], [5], [6, 7]]);
    await check([[1, 2, 3, 4, 5, 6, 7, 8], [2], [5, 6, 7], [6]]);
    for (const [b, sequence] of sequences.entries()) cache.lengths[b] = sequence.length = Math.min(5, sequence.length);
    await check([[9], [2, 3], [5, 6, 7, 8, 9], [...randomTokens(10)]]);
    const logits = await model.extend(cache, [4, 5, 6, 7]);
    for (const [b, sequence] of sequences.entries()) {
      close(logits.subarray(b * V, (b + 1) * V), await lastLogits(model, [...sequence, 4 + b]), 1e-5, `lane ${b}`);
    }
    using other = model.createCache(1, 40);
    other.copySequence(cache, 1, 0);
    await model.extend(other, [1]);
    close(await model.extend(other, [2]), await lastLogits(model, [...sequences[1]!, 5, 1, 2]), 1e-5, 'the copy');
    close(
      await model.extend(cache, [1, 1, 1, 1]).then((all) => all.subarray(V, 2 * V)),
      await lastLogits(model, [...sequences[1]!, 5, 1]),
      1e-5,
      'what was copied',
    );
  });
}

longRope('prompts that are generated from together give what each gives alone', async () => {
  using model = await DenseModel.load(device, hub);
  const prompts = [3, 12, 6, 8, 1].map((length, seed) => [...randomTokens(length, seed)]);
  const options = { temperature: 0, maxTokens: 14, stopTokens: [] };
  const got = prompts.map((): number[] => []);
  for await (const { id, index } of model.generate(prompts, { ...options, batchSize: 3 })) got[index]!.push(id);
  for (const [i, prompt] of prompts.entries()) {
    const ids = [...prompt];
    for (let n = 0; n < options.maxTokens; n++) {
      const logits = await lastLogits(model, ids);
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    assert.equal(got[i], ids.slice(prompt.length), `prompt ${i}`);
  }
});

longRope('a sequence beyond the limit is another than one within', async () => {
  using model = await DenseModel.load(device, hub);
  const ids = randomTokens(FIRST + 1);
  const [within, beyond] = [await model.logits(ids.subarray(0, FIRST)), await model.logits(ids)];
  assert.ok(difference(within, beyond.subarray(0, FIRST * V)) > 1e-3);
});

longRope('tables of caches have a part for each stage', async () => {
  const configs = [config(SECOND), config(FIRST), limitless];
  const limits = ropeLimits(configs);
  assert.equal(limits, [FIRST, SECOND]);
  assert.equal(
    [1, 9, 10, 13, 14, 99].map((length) => stageOf(limits, length)),
    [0, 0, 1, 1, 2, 2],
  );
  assert.equal(
    [0, 1, 2].map((stage) => stageStart(limits, stage)),
    [0, 9, 22],
  );
  using tables = new RopeTables(device, configs);
  for (const [m, table] of tables.upTo(30, 0, true)!.entries()) {
    const rope = configs[m]!.rope.global;
    const values = await table.read();
    for (const [stage, length] of [FIRST, SECOND, 30].entries()) {
      const isLong = rope.kind === 'longrope' && length > rope.originalMaxPositions;
      const [frequency = 0] = ropeFrequencies(rope, 4, isLong);
      const factor = rope.kind === 'longrope' ? rope.attentionFactor : 1;
      const at = 4 * (stageStart(limits, stage) + length - 1);
      assert.ok(Math.abs(values[at]! - factor * Math.cos((length - 1) * frequency)) < 1e-5, `member ${m}, ${stage}`);
    }
  }
});

longRope('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
  device.dispose();
  await rm(root, { recursive: true, force: true });
});

longRope.run();
