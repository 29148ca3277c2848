/** How requests are computed: against the plain passes of the model, and whatever the batch. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../lib/base/random.js';
import { type ChoiceRequest, type ChoiceResult, scoreChoices } from '../../lib/eval/run/choices.js';
import { type GenerationRequest, type GenerationResult, generateTexts } from '../../lib/eval/run/generations.js';
import { scoreTexts } from '../../lib/eval/run/texts.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, liveBytes, writeModel } from '../support/models.js';

const WORDS = 'the cat sat on a mat and then it went out to see what the dog did'.split(' ');

function someText(seed: number, words: number): string {
  const random = new Random(seed, 'words');
  return Array.from({ length: words }, () => WORDS[random.below(WORDS.length)]).join(' ');
}

/** A dense model of each family, several stitched, and as an ensemble. */
async function withModels(use: (model: LanguageModel, name: string, device: Device) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    for (const [name, config] of Object.entries(CONFIGS)) {
      await writeModel(device, join(folder, name), { config: { ...config, maxPositions: 256 }, seed: 3 });
      using model = await DenseModel.load(device, join(folder, name));
      await use(model, name, device);
    }
    for (const [seed, name] of ['hub', 'a', 'b'].entries()) {
      await writeModel(device, join(folder, name), { config: { ...CONFIGS.llama, maxPositions: 256 }, seed });
    }
    const experts = { a: join(folder, 'a'), b: join(folder, 'b') };
    using stitched = await StitchedModel.create(device, { hub: join(folder, 'hub'), experts, stitches: 3 });
    await use(stitched, 'stitched', device);
    using ensemble = await EnsembleModel.create(device, { hub: join(folder, 'hub'), experts });
    await use(ensemble, 'ensemble', device);
  });
}

const SHARED = `${someText(1, 20)}. `;
const CHOICES: ChoiceRequest[] = Array.from({ length: 13 }, (_, i) => ({
  context: `${i % 4 === 3 ? '' : SHARED}${someText(i, 3 + (i % 5))}`,
  continuations: i % 2 === 0 ? ['x', 'y', 'z'] : [' long', ' the longest', '.'],
}));

async function choices(model: LanguageModel, requests: ChoiceRequest[], batchSize: number, sharePrefixes = true) {
  const results: ChoiceResult[] = [];
  for await (const result of scoreChoices(model, requests, { batchSize, sharePrefixes }))
    results[result.index] = result;
  return results;
}

/** Log-probability and greediness of a continuation, from a pass over the whole sequence alone. */
async function expectedScore(model: LanguageModel, context: string, continuation: string) {
  const start = model.tokenizer.encode(context);
  const all = model.tokenizer.encode(context + continuation);
  const { vocabularySize } = model.config;
  const logits = await model.logits(all.slice(0, -1));
  let logProbability = 0;
  let isGreedy = true;
  for (let i = start.length; i < all.length; i++) {
    const row = logits.subarray((i - 1) * vocabularySize, i * vocabularySize);
    const top = Math.max(...row);
    const logSum = top + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
    logProbability += row[all[i]!]! - logSum;
    isGreedy &&= row[all[i]!] === top;
  }
  return { logProbability, isGreedy };
}

// Tables of rotary positions, made at first use, stay.
test('choices are scored as passes over the whole sequences score them', async () => {
  await withModels(async (model, name, device) => {
    const results = await choices(model, CHOICES, 4);
    const live = await liveBytes(device);
    await choices(model, CHOICES, 4);
    assert.is(await liveBytes(device), live, 'nothing is left in device memory');
    for (const [i, { context, continuations }] of CHOICES.entries()) {
      for (const [c, continuation] of continuations.entries()) {
        const want = await expectedScore(model, context, continuation);
        const got = results[i]!.scores[c]!;
        const error = Math.abs(got.logProbability - want.logProbability);
        assert.ok(error <= 1e-4 * Math.max(1, -want.logProbability), `${name}: ${i}.${c} differs by ${error}`);
        assert.is(got.isGreedy, want.isGreedy);
      }
    }
  });
});

test('a router decides by the prompt alone, for all choices and for a text', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const at = (name: string) => join(folder, name);
    const names = ['hub', 'a', 'b'];
    for (const [seed, name] of names.entries()) {
      await writeModel(device, at(name), { config: { ...CONFIGS.llama, maxPositions: 256 }, seed });
    }
    using routed = await RoutedModel.create(device, { hub: at('hub'), experts: { a: at('a'), b: at('b') } });
    device.run('fill_normal', { y: routed.trainable[0]!.value, deviation: 10, seed: 1 });
    const members: DenseModel[] = [];
    for (const name of names) members.push(await DenseModel.load(device, at(name)));
    const requests = WORDS.slice(0, 8).map(
      (word, seed): GenerationRequest => ({
        prompt: `${word} `.repeat(4),
        generation: { stop: [], maxTokens: 6 },
        seed,
      }),
    );
    const scores = await choices(routed, CHOICES.slice(0, 3), 8);
    const written = await texts(routed, requests, 8);
    const chosen = new Set<number>();
    for (const [i, request] of requests.entries()) {
      const [member] = await routed.choices(routed.tokenizer.encode(request.prompt));
      chosen.add(member!);
      const [text] = await texts(members[member!]!, [request], 8);
      assert.is(written[i]!.text, text!.text);
    }
    assert.ok(chosen.size > 1, 'prompts go to different members');
    for (const [i, { context, continuations }] of CHOICES.slice(0, 3).entries()) {
      const [member] = await routed.choices(routed.tokenizer.encode(context));
      for (const [c, continuation] of continuations.entries()) {
        const want = await expectedScore(members[member!]!, context, continuation);
        assert.ok(Math.abs(scores[i]!.scores[c]!.logProbability - want.logProbability) < 1e-3);
      }
    }
    for (const member of members) member[Symbol.dispose]();
  });
});

test('scores are the same to the last bit, whatever the batch size and what is shared', async () => {
  await withModels(async (model, name) => {
    const first = await choices(model, CHOICES, 16);
    for (const [batchSize, share] of [
      [1, true],
      [3, true],
      [5, false],
    ] as const) {
      assert.equal(await choices(model, CHOICES, batchSize, share), first, `${name}, ${batchSize}, ${share}`);
    }
    const texts = [someText(1, 40), someText(2, 3), ' ', someText(3, 90)];
    const scores = async (batchSize: number) =>
      (await collect(scoreTexts(model, texts, { batchSize, sharePrefixes: true }))).sort((a, b) => a.index - b.index);
    assert.equal(await scores(1), await scores(8), name);
  });
});

async function texts(model: LanguageModel, requests: GenerationRequest[], batchSize: number, sharePrefixes = true) {
  const results: GenerationResult[] = [];
  for await (const result of generateTexts(model, requests, { batchSize, sharePrefixes }))
    results[result.index] = result;
  return results;
}

function prompts(temperature: number, stop: string[] = []): GenerationRequest[] {
  return Array.from({ length: 19 }, (_, i) => ({
    prompt: `${i % 3 === 0 ? '' : SHARED}${someText(i, 2 + (i % 7))}`,
    generation: { stop, maxTokens: 5 + (i % 4) * 9, temperature, topP: 0.9 },
    seed: i,
  }));
}

test('texts are the same, whatever the batch size and what is shared', async () => {
  await withModels(async (model, name, device) => {
    for (const temperature of [0, 1]) {
      const requests = prompts(temperature, ['a']);
      const first = await texts(model, requests, 16);
      const live = await liveBytes(device);
      await texts(model, requests, 10);
      assert.is(await liveBytes(device), live, 'nothing is left in device memory');
      assert.ok(new Set(first.map(({ text }) => text)).size > 3, 'the texts differ from each other');
      for (const [batchSize, share] of [
        [1, true],
        [9, false],
        [64, true],
      ] as const) {
        assert.equal(await texts(model, requests, batchSize, share), first, `${name}, ${batchSize}, ${share}`);
      }
    }
  });
});

test('greedy texts are those of generate', async () => {
  await withModels(async (model, name) => {
    const requests = prompts(0);
    const results = await texts(model, requests, 8);
    for (const [i, { prompt, generation }] of requests.entries()) {
      let want = '';
      const options = { temperature: 0, maxTokens: generation.maxTokens! };
      for await (const { text } of model.generate(prompt, options)) want += text;
      assert.is(results[i]!.text, want, `${name}: ${prompt}`);
    }
  });
});

test('a prompt that is too long loses its beginning, and the text gets half of the positions at most', async () => {
  await withModels(async (model, name) => {
    if (name !== 'llama') return;
    const long = someText(5, 200);
    const generation = { stop: [], maxTokens: 1000 };
    const [result] = await texts(model, [{ prompt: long, generation, seed: 0 }], 1);
    assert.ok(result!.isCut);
    assert.is(result!.tokens, 128);
    const requests = [{ context: long, continuations: ['x', ' yes'] }];
    const [scored] = await choices(model, requests, 1);
    assert.ok(scored!.isCut);
    const kept = model.tokenizer.decode(model.tokenizer.encode(long).slice(-256));
    const want = await expectedScore(model, kept, 'x');
    assert.ok(Math.abs(scored!.scores[0]!.logProbability - want.logProbability) < 1e-4);
    const endless = [{ context: 'a', continuations: [long] }];
    await fails(() => choices(model, endless, 1), 'BAD_DATA', /256 positions/);
  });
});

test('a text is scored as a whole, in windows where it is longer than the model takes', async () => {
  await withModels(async (model, name) => {
    if (name !== 'llama') return;
    const short = someText(3, 12);
    const prefix = model.config.eosTokens[0]!;
    const tokens = model.tokenizer.encode(short);
    const inputs = Int32Array.from([prefix, ...tokens.slice(0, -1)]);
    const batch = { inputs, targets: Int32Array.from(tokens), batch: 1, tokens: tokens.length };
    const want = -(await model.losses(batch)).reduce((sum, loss) => sum + loss, 0);
    const long = someText(4, 150);
    const scored = await collect(scoreTexts(model, [short, long], { batchSize: 4, sharePrefixes: true }));
    const of = (index: number) => scored.find((result) => result.index === index)!.logProbability;
    assert.ok(Math.abs(of(0) - want) < 1e-3 * Math.abs(want));
    const perToken = of(1) / model.tokenizer.encode(long).length;
    assert.ok(perToken < 0 && perToken > -20, 'every token of a long text is counted once');
  });
});

test('work stops when the signal fires', async () => {
  await withModels(async (model, name) => {
    if (name !== 'llama') return;
    const options = { batchSize: 2, sharePrefixes: true, signal: AbortSignal.abort() };
    await fails(() => collect(scoreChoices(model, CHOICES, options)), 'ABORTED', /stopped/);
    await fails(() => collect(scoreTexts(model, ['some text'], options)), 'ABORTED', /stopped/);
    await fails(() => collect(generateTexts(model, prompts(0), options)), 'ABORTED', /stopped/);
  });
});

test.run();
