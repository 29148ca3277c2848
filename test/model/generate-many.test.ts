/** Several prompts at once, and log-probabilities, on tiny random models. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { GeneratedToken, GenerateOptions, LanguageModel } from '../../lib/index.js';
import { DenseModel, EnsembleModel, MixtureModel, RoutedModel, StitchedModel } from '../../lib/index.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { liveBytes, writeModel } from '../support/models.js';

const many = suite('generate, several prompts');
const device = openCpu();
let folder: string;
let members: { hub: string; experts: Record<string, string> };
let model: DenseModel;

many.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-generate-many-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed });
  members = { hub: await write('hub', 1), experts: { code: await write('code', 2), math: await write('math', 3) } };
  model = await DenseModel.load(device, members.hub);
});
many.after(async () => {
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const PROMPTS = ['once', [5, 6, 7], 'a longer prompt than the others', 'x', 'é', 'once'];
const OPTIONS: GenerateOptions = { maxTokens: 20, stopTokens: [101, 102, 103, 104], stop: ['z'], seed: 3 };

/** The tokens of each prompt, by index. */
function byPrompt(tokens: readonly GeneratedToken[], count: number): GeneratedToken[][] {
  const lists: GeneratedToken[][] = Array.from({ length: count }, () => []);
  for (const token of tokens) lists[token.index]!.push({ ...token, index: 0 });
  return lists;
}

async function expectAsAlone(from: LanguageModel, options: GenerateOptions): Promise<GeneratedToken[][]> {
  const alone: GeneratedToken[][] = [];
  for (const prompt of PROMPTS) alone.push(await collect(from.generate(prompt, options)));
  const together = byPrompt(await collect(from.generate(PROMPTS, options)), PROMPTS.length);
  for (const [p, tokens] of together.entries()) {
    assert.equal(
      tokens.map(({ id, text, finish }) => [id, text, finish]),
      alone[p]!.map(({ id, text, finish }) => [id, text, finish]),
      `prompt ${p}`,
    );
  }
  return together;
}

const systems: [name: string, create: () => Promise<LanguageModel>][] = [
  ['a dense model', () => DenseModel.load(device, members.hub)],
  ['a stitched model', () => StitchedModel.create(device, members)],
  ['a stitched model of low rank', () => StitchedModel.create(device, { ...members, rank: 3 })],
  ['an ensemble', () => EnsembleModel.create(device, members)],
  ['a router of sequences', () => RoutedModel.create(device, members)],
  ['a mixture of experts', () => MixtureModel.create(device, 'btx-soft', members)],
];
for (const [name, create] of systems) {
  many(`${name} continues each of several prompts as if it were alone`, async () => {
    using one = await create();
    await expectAsAlone(one, { maxTokens: 1 }); // what models keep for all their sequences is made at first use
    const before = await liveBytes(device);
    const texts = await expectAsAlone(one, OPTIONS);
    assert.is(new Set(texts.map((tokens) => tokens.length)).size > 1, true, 'the case has texts of several lengths');
    assert.ok(texts.every((tokens) => tokens.at(-1)!.finish));
    assert.equal(texts[0], texts[5], 'the same prompt and seed');
    await expectAsAlone(one, { ...OPTIONS, temperature: 0, repetitionPenalty: 1.3 });
    assert.is(await liveBytes(device), before);
  });
}

many('results do not depend on how many are computed together', async () => {
  const all = async (batchSize: number) =>
    byPrompt(await collect(model.generate(PROMPTS, { ...OPTIONS, batchSize })), PROMPTS.length);
  const [first, ...others] = await Promise.all([1, 2, 3, 8].map(all));
  for (const other of others) assert.equal(other, first);
});

many('tokens of several prompts come as they are computed, not one prompt after another', async () => {
  const tokens = await collect(model.generate(['ab', 'cd'], { maxTokens: 5, stopTokens: [] }));
  assert.equal(
    tokens.map(({ index }) => index),
    [0, 1, 0, 1, 0, 1, 0, 1, 0, 1],
  );
});

many('each prompt has its own room, and each its own end', async () => {
  const { maxPositions } = model.config;
  const long = new Array<number>(maxPositions).fill(7);
  const [first, second] = byPrompt(await collect(model.generate([long, 'ab'], { maxTokens: 3, stopTokens: [] })), 2);
  assert.equal([first!.length, first!.at(-1)!.finish], [1, 'context']);
  assert.equal([second!.length, second!.at(-1)!.finish], [3, 'length']);
});

many('a single prompt has index 0, and so has one in a list', async () => {
  const options = { maxTokens: 4, stopTokens: [] };
  const alone = await collect(model.generate('ab', options));
  assert.equal(await collect(model.generate(['ab'], options)), alone);
  assert.ok(alone.every(({ index }) => index === 0));
});

many('a prompt that is wrong is named', async () => {
  const before = await liveBytes(device);
  await fails(() => collect(model.generate(['a', []])), 'BAD_OPTION', /prompt 1 has 0 tokens/);
  await fails(() => collect(model.generate([[1], [1, 999]])), 'BAD_TOKEN', /999 at place 1/);
  await fails(() => collect(model.generate(['a'], { batchSize: 0 })), 'BAD_OPTION', /batchSize.*from 1 on, not 0/);
  assert.is(await liveBytes(device), before);
});

many('an aborted signal ends all prompts, and leaves nothing behind', async () => {
  const before = await liveBytes(device);
  const controller = new AbortController();
  let seen = 0;
  await fails(
    async () => {
      for await (const _ of model.generate(PROMPTS, { ...OPTIONS, signal: controller.signal })) {
        if (++seen === 9) controller.abort();
      }
    },
    'ABORTED',
    /generating was stopped/,
  );
  assert.is(await liveBytes(device), before);
});

many('log-probabilities are those of the softmax of the logits, whatever the sampling', async () => {
  const prompt = [...Buffer.from('once')];
  const options = { maxTokens: 12, stopTokens: [], temperature: 2, topK: 20, repetitionPenalty: 1.5, seed: 4 };
  const plain = await collect(model.generate(prompt, options));
  const tokens = await collect(model.generate(prompt, { ...options, logprobs: 3 }));
  assert.equal(
    tokens.map(({ id }) => id),
    plain.map(({ id }) => id),
    'looking changes nothing',
  );
  assert.ok(plain.every((token) => !('logProbability' in token) && !('topLogProbabilities' in token)));
  const ids = [...prompt];
  let outside = 0;
  for (const { id, logProbability, topLogProbabilities } of tokens) {
    const logits = Array.from((await model.logits(ids)).subarray(-model.config.vocabularySize));
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    assert.ok(Math.abs(logProbability! - (logits[id]! - total)) < 1e-5);
    const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, 3);
    assert.equal(
      topLogProbabilities!.map((top) => top.id),
      order,
    );
    for (const top of topLogProbabilities!) assert.ok(Math.abs(top.logProbability - (logits[top.id]! - total)) < 1e-5);
    if (!order.includes(id)) outside++;
    ids.push(id);
  }
  assert.ok(outside > 0, 'the case has tokens that are not among the likeliest');
});

many(
  'log-probabilities of several prompts are those of each alone; of all tokens they are a distribution',
  async () => {
    const V = model.config.vocabularySize;
    const options = { ...OPTIONS, logprobs: V };
    const together = byPrompt(await collect(model.generate(PROMPTS, options)), PROMPTS.length);
    for (const [p, prompt] of PROMPTS.entries()) {
      const alone = await collect(model.generate(prompt, options));
      for (const [t, token] of together[p]!.entries()) {
        assert.ok(Math.abs(token.logProbability! - alone[t]!.logProbability!) < 1e-4);
        assert.is(new Set(token.topLogProbabilities!.map(({ id }) => id)).size, V);
        const sum = token.topLogProbabilities!.reduce((sum, { logProbability }) => sum + Math.exp(logProbability), 0);
        assert.ok(Math.abs(sum - 1) < 1e-4, `${sum}`);
      }
    }
    const [bare] = await collect(model.generate('a', { maxTokens: 1, logprobs: 0 }));
    assert.equal(bare!.topLogProbabilities, []);
    assert.ok(bare!.logProbability! < 0);
  },
);

for (const logprobs of [-1, 1.5, 258, Number.NaN]) {
  many(`logprobs: ${logprobs} is refused`, () =>
    fails(
      () => collect(model.generate('a', { logprobs })),
      'BAD_OPTION',
      /logprobs must be a whole number from 0 to 257/,
    ),
  );
}

many.run();
