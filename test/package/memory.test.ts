/** What memory cannot hold is refused before the work, with bytes needed and bytes there, and is never a crash. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { expectMemory, machineMemory } from '../../lib/base/memory.js';
import { Mixture } from '../../lib/data/mixture.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { heldOutLosses } from '../../lib/eval/held-out-loss.js';
import { switchingLoss } from '../../lib/eval/switching.js';
import { meanGates } from '../../lib/gates/mean-gates.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { train } from '../../lib/train/trainer.js';
import { collect, fails } from '../data/data-fixtures.js';
import { callCli, listFiles, writeProject } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { inTemporaryFolder, randomTokens, writeModel } from '../support/models.js';

const NEEDED = /takes about [\d,]+ bytes \([\d.]+ GiB\); this process may use [\d,]+ bytes/;
const MANY = 100_000_000;
const refused = (action: () => unknown, message = NEEDED) => fails(action, 'OUT_OF_MEMORY', message);

const domains = ['x', 'y'].map((name) => {
  const tokens = new ArrayTokens(randomTokens(2000));
  return { name, tokens, heldOut: tokens, weight: 1 };
});
const mixture = (batchSize: number, sequenceLength: number) =>
  new Mixture(domains, { batchSize, sequenceLength, seed: 1 });

/** One model of each kind that can be trained, and an ensemble. */
async function withModels(use: (model: LanguageModel, name: string, device: Device) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const [hub, a] = ['hub', 'a'].map((name) => join(folder, name)) as [string, string];
    await writeModel(device, hub, { seed: 1 });
    await writeModel(device, a, { seed: 2 });
    const family = { hub, experts: { a } };
    const kinds: Record<string, () => Promise<LanguageModel>> = {
      dense: () => DenseModel.load(device, hub, { trainable: true }),
      stitched: () => StitchedModel.create(device, family),
      ensemble: () => EnsembleModel.create(device, family),
      routed: () => RoutedModel.create(device, family),
      mixture: () => MixtureModel.create(device, 'bam', family),
    };
    for (const [name, open] of Object.entries(kinds)) {
      using model = await open();
      await use(model, name, device);
    }
  });
}

/** As on a machine with less memory. */
async function within(bytes: number, use: () => Promise<void>): Promise<void> {
  const { constrainedMemory } = process;
  process.constrainedMemory = () => bytes;
  try {
    await use();
  } finally {
    process.constrainedMemory = constrainedMemory;
  }
}

test('batches that no machine holds are refused, however large', async () => {
  for (const [batch, tokens] of [
    [MANY, 256],
    [2 ** 31, 8],
    [2 ** 40, 2],
    [2 ** 52, 100],
    [Number.MAX_SAFE_INTEGER, 1],
  ] as const) {
    await refused(() => mixture(batch, tokens));
  }
  await fails(
    () => mixture(2 ** 53, 8),
    'BAD_OPTION',
    /batchSize must be a whole number from 1 to 9007199254740991, not/,
  );
  const code = machineMemory() > 18e9 ? 'BAD_OPTION' : 'OUT_OF_MEMORY';
  await fails(() => mixture(2 ** 16, 2 ** 15), code, /2147483647|takes about/);
});

test('losses, gates and texts that switch are held against memory before the first batch', async () => {
  await withModels(async (model, name) => {
    for (const batchSize of [MANY, 2 ** 45]) {
      const options = { batchSize, sequenceLength: 32 };
      await refused(() => heldOutLosses(model, domains, options));
      await refused(() => switchingLoss(model, domains, options));
      if (model instanceof StitchedModel) await refused(() => meanGates(model, domains, options));
    }
    await fails(() => heldOutLosses(model, domains, { sequenceLength: 2 ** 25 }), 'BAD_OPTION', /takes at most 64/);
    await within(5e6, async () => {
      await refused(
        () => heldOutLosses(model, domains, { batchSize: 1000, sequenceLength: 64 }),
        /computing 1000 x 64/,
      );
      const [loss] = await heldOutLosses(model, domains, { batchSize: 8, sequenceLength: 32, maxTokens: 40 });
      assert.ok(loss!.loss > 0, `${name}: what fits is computed`);
    });
  });
});

test('caches and logits are held against memory', async () => {
  await withModels(async (model) => {
    for (const [batch, capacity] of [
      [MANY, 64],
      [1, 2 ** 31 - 1],
      [2 ** 31 - 1, 2 ** 31 - 1],
    ] as const) {
      await refused(() => model.createCache(batch, capacity), /a cache for/);
    }
    for (const wrong of [0, -1, 1.5, 2 ** 31, 2 ** 60, Number.NaN, Number.POSITIVE_INFINITY]) {
      await fails(() => model.createCache(wrong, 8), 'BAD_OPTION', /a cache's batch/);
      await fails(() => model.createCache(1, wrong), 'BAD_OPTION', /a cache's capacity/);
    }
    await within(1e6, async () => {
      await refused(() => model.logits(randomTokens(64 * 40), 40));
      await refused(() => collect(model.generate([1, 2], { maxTokens: 60 })).then(() => model.createCache(200, 64)));
    });
    assert.is((await collect(model.generate([1, 2], { maxTokens: MANY, stopTokens: [] }))).length, 63, 'positions end');
  });
});

test('training is refused before anything is written', async () => {
  await inTemporaryFolder(async (folder) => {
    await withModels(async (model, name) => {
      if (name === 'ensemble') return;
      const options = { folder: join(folder, 'out'), steps: 1, learningRate: 1e-3 };
      await within(6e6, async () => {
        await refused(() => collect(train(model, mixture(2000, 8), options)), /a training step of 2000 x 8 tokens/);
      });
      const accumulation = Number.MAX_SAFE_INTEGER;
      await refused(() => collect(train(model, mixture(1, 8), { ...options, accumulation })), /batches for one update/);
      assert.equal(await listFiles(folder), []);
      const finished = await collect(train(model, mixture(2, 8), options));
      assert.is(finished.at(-1)!.type, 'finished', name);
      await rm(options.folder, { recursive: true });
      await rm(`${options.folder}.training`, { recursive: true });
    });
  });
});

test('the estimate of a step is that of its parts', async () => {
  // biome-ignore lint/suspicious/useAwait: it asks for a promise
  await withModels(async (model, name) => {
    const size = { batch: 4, tokens: 32 };
    const twice = { ...size, batch: 8 };
    if (name !== 'ensemble') assert.ok(model.trainingBytes(twice) > model.trainingBytes(size));
    assert.ok(model.inferenceBytes(twice) > model.inferenceBytes(size));
    assert.ok(model.trainingBytes(size) === 0 || model.trainingBytes(size) >= model.inferenceBytes(size) / 2);
  });
});

test('what all of memory can hold is not refused', () => {
  assert.not.throws(() => expectMemory(machineMemory(), 'all of it'));
});

test('every command refuses a batch of a hundred million with what it needs and what there is', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const at = (name: string) => join(folder, name);
    const texts = ['code', 'math'].flatMap((name) => ['--domain', `${name}=${at(`${name}.txt`)}`]);
    const common = [...texts, '--cache', at('cache'), '--threads', '1', '--sequence-length', '16'];
    const family = ['--hub', at('hub'), '--expert', `code=${at('code')}`, '--expert', `math=${at('math')}`];
    const steps = ['--steps', '2', '--learning-rate', '1e-3'];
    const made = await callCli('stitch', ...family, ...common, ...steps, '--out', at('generalist'));
    assert.is(made.error, undefined);
    const before = await listFiles(folder);
    const out = ['--out', at('out')];
    const shape = ['--width', '16', '--layers', '2', '--heads', '2', '--train-tokenizer', '300'];
    const commands: string[][] = [
      ['train', '--from', at('hub'), ...common, ...steps, ...out],
      ['train', ...shape, ...common, ...steps, ...out],
      ['stitch', ...family, ...common, ...steps, ...out],
      ['baseline', 'data-matched', ...family, ...common, ...steps, ...out],
      ['baseline', 'bam', ...family, ...common, ...steps, ...out],
      ['baseline', 'routing', ...family, ...common, ...steps, ...out],
      ['sparse', at('generalist'), ...common, ...steps, ...out],
      ['add', at('generalist'), '--expert', `law=${at('code')}`, ...common, ...steps, ...out],
      ['remove', at('generalist'), '--expert', 'math', ...common, ...steps, ...out],
      ['eval', at('hub'), at('generalist'), ...common],
    ];
    for (const command of commands) {
      const { error, stdout, stderr } = await callCli(...command, '--batch-size', `${MANY}`);
      assert.is(error?.code, 'OUT_OF_MEMORY', `${command.slice(0, 2)}: ${error}`);
      assert.match(error!.message, NEEDED);
      assert.is(stdout, '');
      assert.not.match(stderr, /tokens|evaluated/, 'no text was read');
      assert.equal(await listFiles(folder), before, 'nothing is left');
    }
    const huge = await callCli('eval', at('hub'), ...common, '--batch-size', `${Number.MAX_SAFE_INTEGER}`);
    assert.is(huge.error?.code, 'OUT_OF_MEMORY');
    const checked = await callCli('check', ...family, '--batch-size', `${MANY}`);
    assert.is(checked.error, undefined);
    assert.match(checked.stdout, /NOT_ENOUGH_MEMORY/);
    const long = await callCli('gates', at('generalist'), ...common.slice(0, -1), `${MANY}`);
    assert.is(long.error?.code, 'BAD_OPTION');
    assert.match(long.error!.message, /takes at most 32/);

    await writeFile(at('rows.jsonl'), '{"q": "1 + 1 =", "c": [" 2", " 3"]}\n');
    const task =
      'task: t\ndata: rows.jsonl\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\ntarget_delimiter: ""\n';
    await writeFile(at('t.yaml'), `${task}doc_to_choice: c\ndoc_to_target: 0\n`);
    const few = await callCli('eval', at('hub'), '--tasks', at('t.yaml'), '--batch-size', `${MANY}`);
    assert.is(few.error, undefined, 'no more is computed together than there is');
  });
});

test.run();
