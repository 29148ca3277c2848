/** The server as OpenAI's own client sees it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { collect } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, writeModel } from '../support/models.js';
import { serve, type TestServer, writeChatTemplate } from './serving-fixtures.js';

const clients = suite('serving: the openai client');
const device = openCpu();
const config = { ...CONFIGS.llama, maxPositions: 200 };
const TEMPLATE =
  '{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}';
let folder: string;
let hub: DenseModel;
let generalist: StitchedModel;
let server: TestServer;
let openai: OpenAI;

clients.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-openai-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed, config });
  const [hubFolder, code, math] = [await write('hub', 1), await write('code', 2), await write('math', 3)];
  using created = await StitchedModel.create(device, { hub: hubFolder, experts: { code, math } });
  const stitched = join(folder, 'stitched');
  await replaceFolder(stitched, (temporary) => created.write(temporary));
  generalist = await StitchedModel.load(device, stitched);
  await writeChatTemplate(hubFolder, TEMPLATE);
  hub = await DenseModel.load(device, hubFolder);
  server = await serve({ hub, generalist }, { apiKey: 'secret' });
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'secret', maxRetries: 0 });
});
clients.after(async () => {
  await server.close();
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const textOf = async (model: DenseModel | StitchedModel, prompt: string | number[], options: object) =>
  (await collect(model.generate(prompt, options))).map(({ text }) => text).join('');

clients('lists its models', async () => {
  const { data } = await openai.models.list();
  assert.equal(
    data.map(({ id, object }) => [id, object]),
    [
      ['hub', 'model'],
      ['generalist', 'model'],
    ],
  );
  assert.is((await openai.models.retrieve('generalist')).id, 'generalist');
});

clients('completes a text as generate does', async () => {
  const prompt = 'once upon a time, far away';
  const { choices, usage, object, model } = await openai.completions.create({
    model: 'hub',
    prompt,
    max_tokens: 20,
    temperature: 0,
  });
  assert.is(object, 'text_completion');
  assert.is(model, 'hub');
  assert.is(choices.length, 1);
  assert.is(choices[0]!.text, await textOf(hub, prompt, { maxTokens: 20, temperature: 0 }));
  assert.is(choices[0]!.logprobs, null);
  assert.ok(['stop', 'length'].includes(choices[0]!.finish_reason));
  assert.is(usage!.prompt_tokens, prompt.length);
  assert.is(usage!.total_tokens, prompt.length + usage!.completion_tokens);
});

clients('completes token ids, and several prompts at once, each with its answers', async () => {
  const prompts = [
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
    [70, 71, 72, 73, 74, 75, 76, 77, 78, 79],
  ];
  const { choices } = await openai.completions.create({
    model: 'generalist',
    prompt: prompts,
    max_tokens: 8,
    n: 2,
    seed: 5,
    temperature: 0.8,
  });
  assert.equal(
    choices.map(({ index }) => index),
    [0, 1, 2, 3],
  );
  for (const [p, prompt] of prompts.entries()) {
    const alone = await openai.completions.create({
      model: 'generalist',
      prompt,
      max_tokens: 8,
      n: 2,
      seed: 5,
      temperature: 0.8,
    });
    assert.equal(
      alone.choices.map(({ text }) => text),
      choices.slice(2 * p, 2 * p + 2).map(({ text }) => text),
    );
  }
  assert.is.not(choices[0]!.text, choices[1]!.text);
  const mixed = await server.post(
    '/v1/completions',
    { model: 'hub', prompt: ['text', [1, 2]], max_tokens: 2 },
    { Authorization: 'Bearer secret' },
  );
  assert.is(((await mixed.json()) as { choices: unknown[] }).choices.length, 2);
});

clients('streams what it answers as a whole otherwise', async () => {
  const question = { model: 'hub', prompt: 'abcdefghijkl', max_tokens: 30, seed: 3, logprobs: 2, stop: ['q', 'zz'] };
  const whole = await openai.completions.create(question);
  const stream = await openai.completions.create({
    ...question,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  const tokens: string[] = [];
  const logprobs: number[] = [];
  const offsets: number[] = [];
  let finish: string | null = null;
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    usage = chunk.usage;
    for (const choice of chunk.choices) {
      text += choice.text;
      tokens.push(...choice.logprobs!.tokens!);
      logprobs.push(...choice.logprobs!.token_logprobs!);
      offsets.push(...choice.logprobs!.text_offset!);
      finish = choice.finish_reason ?? finish;
    }
  }
  const [choice] = whole.choices;
  assert.is(text, choice!.text);
  assert.is(finish, choice!.finish_reason);
  assert.equal(tokens, choice!.logprobs!.tokens);
  assert.equal(logprobs, choice!.logprobs!.token_logprobs);
  assert.equal(offsets, choice!.logprobs!.text_offset);
  assert.equal(usage, whole.usage);
  assert.is(Object.keys(choice!.logprobs!.top_logprobs![0]!).length >= 2, true);
});

clients('experts are switched off for one request', async () => {
  const ask = async (without?: string[]) => {
    const body = { model: 'generalist', prompt: 'x = 1; y =', max_tokens: 20, temperature: 0, without };
    return (await openai.completions.create(body as OpenAI.CompletionCreateParamsNonStreaming)).choices[0]!.text;
  };
  const [all, some] = [await ask(), await ask(['math'])];
  assert.is(some, await textOf(generalist.without(['math']), 'x = 1; y =', { maxTokens: 20, temperature: 0 }));
  assert.is.not(all, some);
});

clients('tells gates as generate does, as a whole and bit by bit', async () => {
  const body = { model: 'generalist', prompt: 'x = 1; y =', max_tokens: 12, temperature: 0, gates: true };
  const tokens = await collect(generalist.generate(body.prompt, { maxTokens: 12, temperature: 0, gates: true }));
  const wanted = { gates: tokens.map(({ gates }) => gates), prompt_gates: tokens[0]!.promptGates };
  const told = ({ gates, prompt_gates }: typeof wanted) => ({ gates, prompt_gates });

  const [whole] = (await openai.completions.create(body)).choices;
  assert.equal(told(whole as never), wanted);
  const parts: (typeof wanted)[] = [];
  for await (const { choices } of await openai.completions.create({ ...body, stream: true })) {
    parts.push(choices[0] as never);
  }
  assert.equal(
    parts.flatMap(({ gates }) => gates),
    wanted.gates,
  );
  assert.equal(parts[0]!.prompt_gates, wanted.prompt_gates);

  const metrics = await (await fetch(`${server.url}/metrics`, { headers: { Authorization: 'Bearer secret' } })).text();
  assert.match(metrics, 'bts_gated_tokens_total{model="generalist"} 24\n');
  const [, sum] = /bts_gates_total\{model="generalist",stitch="(?:experts_into_hub) \d+",member="hub"\} ([\d.]+)/.exec(
    metrics,
  )!;
  assert.ok(Number(sum) > 0 && Number(sum) < 24, `the hub's gates add up to ${sum}`);

  // With other experts they are other gates, and who does not ask is told none.
  const { gates: some } = told(
    (await openai.completions.create({ ...body, without: ['math'] } as never)).choices[0] as never,
  );
  assert.equal(some[0]!.members, ['hub', 'code']);
  const [plain] = (await openai.completions.create({ ...body, gates: undefined } as never)).choices;
  assert.is('gates' in plain!, false);
});

clients('tells gates in a conversation, and says where there are none', async () => {
  const body = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 5, temperature: 0, gates: true };
  using templated = await StitchedModel.load(device, join(folder, 'stitched'));
  const own = await serve({ templated });
  const answered = await own.post('/v1/chat/completions', body);
  const { choices } = (await answered.json()) as { choices: { gates: { members: string[] }[] }[] };
  await own.close();
  const { gates } = choices[0]!;
  assert.is(gates.length, 5);
  assert.equal(gates[0]!.members, ['hub', 'code', 'math']);

  const refused = await server.post(
    '/v1/chat/completions',
    { ...body, model: 'hub' },
    { Authorization: 'Bearer secret' },
  );
  assert.is(refused.status, 400);
  assert.match(await refused.text(), 'gates: the model has none');
});

clients('chats by the template of the checkpoint', async () => {
  const messages = [
    { role: 'system' as const, content: 'be brief' },
    { role: 'user' as const, content: [{ type: 'text' as const, text: 'hello' }] },
  ];
  const { choices, usage, object } = await openai.chat.completions.create({
    model: 'hub',
    messages,
    max_completion_tokens: 12,
    temperature: 0,
    logprobs: true,
    top_logprobs: 3,
  });
  const prompt = 'system: be brief\nuser: hello\nassistant: ';
  assert.is(object, 'chat.completion');
  assert.is(usage!.prompt_tokens, prompt.length);
  assert.is(choices[0]!.message.role, 'assistant');
  assert.is(choices[0]!.message.content, await textOf(hub, prompt, { maxTokens: 12, temperature: 0 }));
  const { content } = choices[0]!.logprobs!;
  assert.is(content!.length, usage!.completion_tokens);
  for (const { logprob, top_logprobs } of content!) {
    assert.is(top_logprobs.length, 3);
    assert.is(top_logprobs[0]!.logprob, logprob, 'the greedy token is the likeliest');
  }

  const stream = await openai.chat.completions.create({
    model: 'hub',
    messages,
    max_completion_tokens: 12,
    temperature: 0,
    stream: true,
  });
  let text = '';
  const roles: (string | undefined)[] = [];
  for await (const { choices } of stream) {
    text += choices[0]!.delta.content ?? '';
    roles.push(choices[0]!.delta.role);
  }
  assert.is(text, choices[0]!.message.content);
  assert.equal(roles.filter(Boolean), ['assistant']);
});

clients('tells errors as OpenAI does', async () => {
  const refused = async (promise: Promise<unknown>, status: number, code: string, words: RegExp) => {
    const error = await promise.then(
      () => assert.unreachable('it was answered'),
      (error) => error,
    );
    assert.instance(error, OpenAI.APIError);
    assert.is(error.status, status);
    assert.is(error.code, code);
    assert.match(error.message, words);
  };
  const messages = [{ role: 'user' as const, content: 'hello' }];
  await refused(openai.chat.completions.create({ model: 'generalist', messages }), 400, 'BAD_TOKENIZER', /template/);
  await refused(openai.completions.create({ model: 'gpt-4', prompt: 'x' }), 404, 'NOT_FOUND', /'gpt-4'.*'hub'/);
  await refused(
    openai.completions.create({ model: 'hub', prompt: 'x'.repeat(201) }),
    400,
    'BAD_OPTION',
    /201 tokens.*at most 200/,
  );
  const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'guess', maxRetries: 0 });
  await refused(stranger.models.list().then(), 401, 'UNAUTHORIZED', /Bearer/);
});

clients('nothing unexpected happened', () => assert.equal(server.failures, []));

clients.run();
