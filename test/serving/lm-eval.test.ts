/** The requests that lm-eval 0.4 sends as `local-completions`, and what it makes of the answers, beside our own evaluation. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scoreChoices } from '../../lib/eval/run/choices.js';
import { generateTexts } from '../../lib/eval/run/generations.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { collect } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, writeModel } from '../support/models.js';
import { serve, type TestServer } from './serving-fixtures.js';

const harness = suite('serving: lm-eval');
const device = openCpu();
const config = { ...CONFIGS.llama, maxPositions: 256 };
let folder: string;
let models: Record<string, LanguageModel>;
let server: TestServer;

harness.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-lm-eval-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed, config });
  const [hub, code] = [await write('hub', 1), await write('code', 2)];
  models = {
    hub: await DenseModel.load(device, hub),
    generalist: await StitchedModel.create(device, { hub, experts: { code } }),
  };
  server = await serve(models);
});
harness.after(async () => {
  await server.close();
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const SHOTS = Array.from({ length: 4 }, (_, i) => `Question: ${i} plus ${i}?\nAnswer: ${2 * i}\n`).join('');
const QUESTIONS = Array.from({ length: 12 }, (_, i) => ({
  context: `${SHOTS}Question: ${i * 7} plus ${i}?\nAnswer:`,
  continuations: [` ${8 * i}`, ' a', ' something longer'],
}));

interface Completions {
  choices: {
    index: number;
    text: string;
    logprobs: { token_logprobs: number[]; top_logprobs: Record<string, number>[] };
  }[];
}

async function complete(body: object): Promise<Completions> {
  const response = await server.post('/v1/completions', body);
  assert.is(response.status, 200);
  return (await response.json()) as Completions;
}

/** `parse_logprobs` of lm_eval/models/openai_completions.py. */
function parseLogprobs({ choices }: Completions, contextLengths: readonly number[]) {
  const inOrder = [...choices].sort((a, b) => a.index - b.index);
  return inOrder.map(({ logprobs }, i) => {
    const own = logprobs.token_logprobs.slice(contextLengths[i], -1);
    const top = logprobs.top_logprobs.slice(contextLengths[i], -1);
    return {
      logProbability: own.reduce((sum, each) => sum + each, 0),
      isGreedy: own.every((each, t) => each === Math.max(...Object.values(top[t]!))),
    };
  });
}

for (const name of ['hub', 'generalist']) {
  harness(`${name}: continuations have the scores of bts eval`, async () => {
    const model = models[name]!;
    const results = await collect(scoreChoices(model, QUESTIONS, { batchSize: 8, sharePrefixes: true }));
    const expected = results.sort((a, b) => a.index - b.index).flatMap(({ scores }) => scores);
    const encode = (text: string) => model.tokenizer.encode(text, { specials: false });
    const pairs = QUESTIONS.flatMap(({ context, continuations }) =>
      continuations.map((continuation) => [encode(context), encode(continuation)] as const),
    );
    const scores = [];
    for (let first = 0; first < pairs.length; first += 16) {
      const batch = pairs.slice(first, first + 16);
      const answer = await complete({
        model: name,
        prompt: batch.map(([context, continuation]) => [...context, ...continuation]),
        temperature: 0,
        max_tokens: 1,
        logprobs: 1,
        seed: 1234,
        echo: true,
      });
      scores.push(
        ...parseLogprobs(
          answer,
          batch.map(([context]) => context.length),
        ),
      );
    }
    assert.is(scores.length, expected.length);
    for (const [i, { logProbability, isGreedy }] of scores.entries()) {
      assert.ok(Math.abs(logProbability - expected[i]!.logProbability) < 1e-9, `request ${i}`);
      assert.is(isGreedy, expected[i]!.isGreedy);
    }
  });

  harness(`${name}: texts are those of bts eval`, async () => {
    const model = models[name]!;
    const generation = { stop: ['e', '\n\n'], maxTokens: 40 };
    const requests = QUESTIONS.map(({ context: prompt }) => ({ prompt, generation, seed: 1234 }));
    const texts = await collect(generateTexts(model, requests, { batchSize: 8, sharePrefixes: true }));
    const expected = texts.sort((a, b) => a.index - b.index).map(({ text }) => text);
    const { choices } = await complete({
      model: name,
      prompt: QUESTIONS.map(({ context }) => model.tokenizer.encode(context, { specials: false })),
      max_tokens: 40,
      temperature: 0,
      stop: ['e', '\n\n', '<|end|>'],
      seed: 1234,
    });
    assert.equal(
      choices.map(({ text }) => text),
      expected,
    );
  });
}

harness('every continuation that is the likeliest is found to be it', async () => {
  const model = models.hub!;
  const context = model.tokenizer.encode(SHOTS, { specials: false });
  const greedy = (await collect(model.generate(context, { temperature: 0, maxTokens: 6, stopTokens: [] }))).map(
    ({ id }) => id,
  );
  const answer = await complete({
    model: 'hub',
    prompt: [
      [...context, ...greedy],
      [...context, ...greedy.slice(0, -1), greedy.at(-1)! ^ 1],
    ],
    max_tokens: 1,
    logprobs: 1,
    echo: true,
  });
  assert.equal(
    parseLogprobs(answer, [context.length, context.length]).map(({ isGreedy }) => isGreedy),
    [true, false],
  );
});

harness('a prompt alone is scored, without a token behind it', async () => {
  const text = 'to be scored';
  const answer = await complete({ model: 'hub', prompt: text, max_tokens: 0, logprobs: 0, echo: true });
  const [{ text: echoed, logprobs }] = answer.choices as [Completions['choices'][0]];
  assert.is(echoed, text);
  const ids = Int32Array.from(models.hub!.tokenizer.encode(text));
  const losses = await models.hub!.losses({
    inputs: ids.slice(0, -1),
    targets: ids.slice(1),
    batch: 1,
    tokens: ids.length - 1,
  });
  assert.is(logprobs.token_logprobs.length, ids.length);
  assert.is(logprobs.token_logprobs[0], null);
  for (const [t, loss] of losses.entries()) assert.ok(Math.abs(logprobs.token_logprobs[t + 1]! + loss) < 1e-4);
});

harness.run();
