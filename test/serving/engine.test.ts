/** Many requests at once, on tiny random models: each gets what it gets alone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import { DecoderModel } from '../../lib/model/decoder-model.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Engine } from '../../lib/serving/engine.js';
import type { AnswerEvent, AnswerRequest } from '../../lib/serving/job.js';
import type { EngineSettings } from '../../lib/serving/options.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, liveBytes, randomize, randomTokens, writeModel } from '../support/models.js';

const engines = suite('serving/engine');
const device = openCpu();
const CONFIG = { ...CONFIGS.llama, maxPositions: 512 };
/** 64 tokens of one member: keys and values of 3 layers, 2 heads of width 4. */
const PAGE_BYTES = 64 * 2 * 3 * 2 * 4 * 4;
const SETTINGS: EngineSettings = { maxSequences: 64, maxQueue: 200, chunkTokens: 32, cacheMemory: 1 };
let folder: string;
let members: { hub: string; experts: Record<string, string> };

engines.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-engine-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed, config: CONFIG });
  members = { hub: await write('hub', 1), experts: { code: await write('code', 2), math: await write('math', 3) } };
});
engines.after(async () => {
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const SAMPLING = { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 };

function request(prompt: ArrayLike<number>, changes: Partial<AnswerRequest> = {}): AnswerRequest {
  return {
    prompt: Array.from(prompt),
    isText: true,
    sampling: SAMPLING,
    maxTokens: 12,
    stop: [],
    stopTokens: new Set([256]),
    logprobs: undefined,
    seeds: [7],
    without: [],
    client: 'somebody',
    ...changes,
  };
}

/** What all of them get when they come at the same time. */
async function together(
  model: LanguageModel,
  requests: readonly AnswerRequest[],
  settings: Partial<EngineSettings> = {},
): Promise<AnswerEvent[][]> {
  const engine = new Engine(model, { ...SETTINGS, ...settings });
  const answers = await Promise.all(engine.submit(requests).map(collect));
  await engine.close();
  return answers;
}

async function oneByOne(model: LanguageModel, requests: readonly AnswerRequest[]): Promise<AnswerEvent[][]> {
  const answers: AnswerEvent[][] = [];
  for (const request of requests) answers.push(...(await together(model, [request])));
  return answers;
}

/** Of all kinds, 64. */
function mixedRequests(model: LanguageModel): AnswerRequest[] {
  const shared = randomTokens(150, 99);
  return Array.from({ length: 64 }, (_, i) => {
    const own = randomTokens(1 + ((i * 37) % 90), i);
    const prompt = i % 4 === 0 ? [...shared.slice(0, 100 + (i % 50)), ...own] : own;
    return request(prompt, {
      client: `client ${i % 5}`,
      seeds: i % 8 === 3 ? [i, i + 1, i + 2] : [i],
      sampling: { ...SAMPLING, temperature: i % 2, repetitionPenalty: i % 3 === 0 ? 1.3 : 1 },
      maxTokens: 1 + ((i * 13) % 40),
      ...(i % 6 === 1 && { logprobs: 2 }),
      ...(i % 7 === 2 && { promptLogprobs: 1 }),
      ...(i % 9 === 4 && { stop: ['a', 'b'] }),
      ...(model.hasGates && i % 5 < 2 && { gates: true, without: i % 10 < 5 ? ['math'] : [] }),
    });
  });
}

const systems: [name: string, create: () => Promise<LanguageModel>][] = [
  ['a dense model', () => DenseModel.load(device, members.hub)],
  ['a stitched model', frozenStitched],
  ['a mixture of experts', () => MixtureModel.create(device, 'btx-soft', members)],
  ['an ensemble', () => EnsembleModel.create(device, members)],
  ['a router of sequences', () => RoutedModel.create(device, members)],
];
for (const [name, create] of systems) {
  engines(`${name} answers many requests at once as it answers each alone`, async () => {
    using model = await create();
    // Those that compute one sequence after another take a while for all of them.
    const requests = mixedRequests(model).slice(0, model instanceof DecoderModel ? 64 : 12);
    const alone = await oneByOne(model, requests);
    const before = await liveBytes(device);
    const all = await together(model, requests);
    for (const [i, events] of all.entries()) assert.equal(events, alone[i], `request ${i}`);
    assert.ok(
      all.some((events) => events.length > 30),
      'some are long',
    );
    assert.is(await liveBytes(device), before, 'all caches were given back');
  });
}

engines('greedy answers are those of generate', async () => {
  using model = await DenseModel.load(device, members.hub);
  const prompts = [randomTokens(20, 1), randomTokens(70, 2)];
  const sampling = { ...SAMPLING, temperature: 0 };
  const answers = await together(
    model,
    prompts.map((prompt) => request(prompt, { sampling, seeds: [0], isText: false })),
  );
  for (const [i, prompt] of prompts.entries()) {
    const expected = await collect(model.generate([...prompt], { temperature: 0, maxTokens: 12 }));
    assert.equal(
      answers[i]!.map((event) => 'id' in event && event.id),
      expected.map(({ id }) => id),
    );
  }
});

async function frozenStitched(): Promise<StitchedModel> {
  const path = join(folder, 'stitched');
  using created = await StitchedModel.create(device, members);
  randomize(created, 9);
  await replaceFolder(path, (temporary) => created.write(temporary));
  return await StitchedModel.load(device, path);
}

engines('experts that are switched off take no part, beside requests where they do', async () => {
  using model = await frozenStitched();
  const prompt = randomTokens(30, 4);
  const sets = [[], ['math'], ['code', 'math'], ['code'], ['math', 'code']];
  const requests = sets.map((without) => request(prompt, { without, promptLogprobs: 0, isText: false }));
  const answers = await together(model, requests);
  for (const [i, without] of sets.entries()) {
    const masked = model.without(without);
    const [event] = answers[i]!;
    const scores = 'prompt' in event! ? event.prompt : [];
    const losses = await masked.losses({ inputs: prompt.slice(0, -1), targets: prompt.slice(1), batch: 1, tokens: 29 });
    const off = scores.map(({ logProbability }, t) => Math.abs(logProbability + losses[t]!));
    assert.ok(Math.max(...off) < 1e-4, `without ${without}`);
  }
  assert.equal(answers[2], answers[4]);
  assert.not.equal(answers[0], answers[1]);
});

engines('a prompt goes on from what it has in common with one before it', async () => {
  using model = await DenseModel.load(device, members.hub);
  const shared = [...randomTokens(200, 8)];
  const requests = [1, 2].map((seed) => request([...shared, ...randomTokens(20, seed)]));
  const engine = new Engine(model, SETTINGS);
  const answers: AnswerEvent[][] = [];
  for (const one of requests) answers.push(await collect(engine.submit([one])[0]!));
  // Whole pages are shared: 192 of the 200 tokens.
  assert.is(engine.computedPromptTokens, 220 + 28);
  await engine.close();
  assert.equal(answers, [...(await together(model, [requests[0]!])), ...(await together(model, [requests[1]!]))]);
});

engines('prompts of about one length are computed in one pass, others by themselves', async () => {
  using model = await DenseModel.load(device, members.hub);
  const passes = async (lengths: readonly number[]) => {
    const requests = lengths.map((length, i) => request(randomTokens(length, i), { maxTokens: 1 }));
    device.profile();
    await together(model, requests, { chunkTokens: 256 });
    return device.profile().attention_forward!.calls / CONFIG.layers;
  };
  assert.is(await passes([60, 55, 40, 31]), 1);
  assert.is(await passes([200, 10]), 2);
  // Three have 240 of the 256 tokens that are computed at a time, the fourth 16 of them and then the rest.
  assert.is(await passes([80, 80, 80, 80]), 3);
});

engines('a long prompt does not stop those who are being answered', async () => {
  using model = await DenseModel.load(device, members.hub);
  const engine = new Engine(model, { ...SETTINGS, chunkTokens: 16 });
  const [short] = engine.submit([request([1, 2, 3], { maxTokens: 60, stopTokens: new Set() })]);
  await short!.next();
  const [long] = engine.submit([request(randomTokens(480, 5), { maxTokens: 1, stopTokens: new Set() })]);
  let first = false;
  void long!.next().then(() => {
    first = true;
  });
  let tokens = 0;
  while (!first) {
    await short!.next();
    tokens++;
  }
  assert.ok(tokens >= 25, `${tokens} tokens came while the prompt of 30 parts was computed`);
  await engine.close();
});

engines('clients take turns, however much one of them asks for', async () => {
  using model = await DenseModel.load(device, members.hub);
  const engine = new Engine(model, { ...SETTINGS, maxSequences: 2 });
  const order: string[] = [];
  const ask = (client: string, count: number) =>
    engine
      .submit(Array.from({ length: count }, () => request([5, 6], { client, maxTokens: 3, stopTokens: new Set() })))
      .map(async (events) => {
        await collect(events);
        order.push(client);
      });
  await Promise.all([...ask('many', 20), ...ask('few', 2)]);
  assert.ok(order.lastIndexOf('few') < 6, order.join());
  await engine.close();
});

engines('no more answers than that are computed together, and they take the pages that they may need', async () => {
  using model = await DenseModel.load(device, members.hub);
  const engine = new Engine(model, { ...SETTINGS, maxSequences: 20 });
  const ask = (seeds: number[]) => request([5, 6, 7], { seeds, maxTokens: 30, stopTokens: new Set() });
  const answers = engine.submit(Array.from({ length: 6 }, () => ask([1, 2, 3, 4, 5, 6, 7, 8])));
  const most = { running: 0, cacheBytes: 0 };
  await Promise.all(
    answers.map(async (events) => {
      for await (const _ of events) {
        most.running = Math.max(most.running, engine.running);
        most.cacheBytes = Math.max(most.cacheBytes, engine.cacheBytes);
      }
    }),
  );
  assert.is(most.running, 16, 'two requests of eight answers fit');
  assert.is(most.cacheBytes, 16 * PAGE_BYTES);
  assert.is(engine.cacheBytes, 0, 'all pages were given back');
  await engine.close();
});

engines('who leaves costs nothing more, waiting or being answered', async () => {
  using model = await DenseModel.load(device, members.hub);
  const engine = new Engine(model, { ...SETTINGS, maxSequences: 2 });
  const controllers = Array.from({ length: 6 }, () => new AbortController());
  const endless = (i: number) =>
    request([i, 1], { maxTokens: 400, stopTokens: new Set(), signal: controllers[i]!.signal });
  const answers = engine.submit(controllers.map((_, i) => endless(i)));
  await answers[0]!.next();
  assert.is(engine.waiting, 4);
  controllers[4]!.abort();
  assert.is(engine.waiting, 3);
  controllers[0]!.abort();
  await fails(() => collect(answers[0]!), 'ABORTED', /stopped/);
  await fails(() => collect(answers[4]!), 'ABORTED', /stopped/);
  // A reader that stops reading leaves, too.
  await answers[1]!.next();
  await answers[1]!.return();
  await answers[2]!.next();
  assert.is(engine.waiting, 1);
  for (const controller of controllers) controller.abort();
  await engine.close();
  assert.is(engine.running, 0);
});

engines('what is asked wrongly is refused at once, and so is what is too much', async () => {
  using model = await StitchedModel.create(device, members);
  const engine = new Engine(model, { ...SETTINGS, maxQueue: 2, maxSequences: 4 });
  const refused = (changes: Partial<AnswerRequest>, code: string, words: RegExp) =>
    fails(async () => engine.submit([request([1], changes)]), code as 'BAD_OPTION', words);
  await refused({ prompt: [] }, 'BAD_OPTION', /prompt is empty/);
  await refused({ prompt: new Array(513).fill(1) }, 'BAD_OPTION', /513 tokens.*at most 512/);
  for (const id of [-1, 257, 1.5, 2 ** 31]) await refused({ prompt: [1, id] }, 'BAD_TOKEN', /place 1/);
  await refused({ without: ['poetry'] }, 'BAD_OPTION', /'poetry' is no expert.*code, math/);
  await refused({ without: ['hub'] }, 'BAD_OPTION', /no expert/);
  await refused({ seeds: [1, 2, 3, 4, 5] }, 'BAD_OPTION', /5 answers.*4/);
  await fails(async () => engine.submit([1, 2, 3].map((id) => request([id]))), 'BUSY', /3 prompts.*2 may wait/);
  await engine.close();
  await refused({}, 'BUSY', /being stopped/);
});

engines('a prompt waits until there is memory for it, and what never fits is refused', async () => {
  using model = await DenseModel.load(device, members.hub);
  const engine = new Engine(model, { ...SETTINGS, cacheMemory: (5 * PAGE_BYTES) / 2 ** 30 });
  const [first, second, third] = engine.submit([
    request([1], { maxTokens: 50, stopTokens: new Set() }),
    request(randomTokens(300, 3), { maxTokens: 1 }),
    request(randomTokens(320, 3), { maxTokens: 10 }),
  ]);
  await first!.next();
  assert.is(engine.waiting, 2);
  assert.is((await collect(first!)).length, 49);
  assert.is((await collect(second!)).length, 1);
  await fails(() => collect(third!), 'OUT_OF_MEMORY', /cacheMemory/);
  assert.is((await collect(engine.submit([request([1])])[0]!)).length > 0, true);
  await engine.close();
});

engines('what one set of experts keeps makes room for another, also while it answers', async () => {
  using model = await frozenStitched();
  const engine = new Engine(model, { ...SETTINGS, cacheMemory: (15 * PAGE_BYTES) / 2 ** 30 });
  const ask = (prompt: ArrayLike<number>, maxTokens: number, without: string[] = []) =>
    engine.submit([request(prompt, { maxTokens, without, stopTokens: new Set() })])[0]!;
  // Of 3 members, 4 pages each, of which 3 are kept; then one page each for a long answer.
  await collect(ask(randomTokens(200, 1), 1));
  const long = ask([1, 2], 50);
  await long.next();
  assert.is(engine.cacheBytes, (9 + 3) * PAGE_BYTES);
  assert.is((await collect(ask(randomTokens(200, 2), 1, ['math']))).length, 1);
  assert.is(engine.running, 1, 'the long answer is not at its end');
  await long.return();
  await engine.close();
});

engines.run();
