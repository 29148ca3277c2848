/** What a server is sent that it should not be, and what it is asked too much of. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DenseModel } from '../../lib/model/dense-model.js';
import { fails } from '../data/data-fixtures.js';
import { until } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, liveBytes, writeModel } from '../support/models.js';
import { serve, type TestServer, writeChatTemplate } from './serving-fixtures.js';

const limits = suite('serving: limits');
const device = openCpu();
let folder: string;
let model: DenseModel;
let server: TestServer;

limits.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-limits-'));
  const config = { ...CONFIGS.llama, maxPositions: 2048, eosTokens: [] };
  const path = await writeModel(device, join(folder, 'tiny'), { config });
  await writeChatTemplate(path, "{% if messages|length > 1 %}{{ raise_exception('one at a time') }}{% endif %}hi");
  model = await DenseModel.load(device, path);
  server = await serve({ tiny: model }, { maxBody: 0.25, maxQueue: 1000 });
});
limits.after(async () => {
  await server.close();
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

interface Failure {
  error: { message: string; type: string; code: string; param: string | null };
}

/** The number `name` of /metrics. */
async function metric(name: string, from = server): Promise<number> {
  const text = await (await fetch(`${from.url}/metrics`)).text();
  const line = text.split('\n').find((line) => line.startsWith(name));
  return Number(line?.split(' ').at(-1) ?? 0);
}

const COMPLETIONS = '/v1/completions';
const CHAT = '/v1/chat/completions';
const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const ask = { prompt: 'x', max_tokens: 1 };
const user = { role: 'user', content: 'x' };

/** More of them than a request may hold. */
const many = (value: string) => new Array(20_000).fill(value).join();

/** What is sent where, and what comes back: status, code, field, words. */
const REFUSED: [path: string, body: unknown, status: number, code: string, param: string | null, words: RegExp][] = [
  [COMPLETIONS, '', 400, 'BAD_REQUEST', null, /not JSON/],
  [COMPLETIONS, '{"prompt": "x"', 400, 'BAD_REQUEST', null, /not JSON/],
  [COMPLETIONS, '{"prompt": "\u0000"}', 400, 'BAD_REQUEST', null, /not JSON/],
  [COMPLETIONS, 'null', 400, 'BAD_OPTION', null, /expected object/],
  [COMPLETIONS, '[]', 400, 'BAD_OPTION', null, /expected object/],
  [COMPLETIONS, `{"prompt": ${deep(10_000)}}`, 400, 'BAD_OPTION', 'prompt', /expected a text/],
  [COMPLETIONS, `{"prompt": ${deep(50_000)}}`, 413, 'TOO_LARGE', null, /16384 values/],
  [COMPLETIONS, {}, 400, 'BAD_OPTION', 'prompt', /expected a text/],
  [COMPLETIONS, { prompt: null }, 400, 'BAD_OPTION', 'prompt', /expected a text/],
  [COMPLETIONS, { prompt: 7 }, 400, 'BAD_OPTION', 'prompt', /expected a text/],
  [COMPLETIONS, { prompt: [] }, 400, 'BAD_OPTION', 'prompt', /empty list/],
  [COMPLETIONS, { prompt: [[]] }, 400, 'BAD_OPTION', null, /prompt is empty/],
  [COMPLETIONS, { prompt: [1, 'x'] }, 400, 'BAD_OPTION', 'prompt', /expected a text/],
  [COMPLETIONS, { prompt: [-1] }, 400, 'BAD_TOKEN', null, /-1 at place 0/],
  [COMPLETIONS, { prompt: [[3], [1, 257]] }, 400, 'BAD_TOKEN', null, /257 at place 1.*vocabulary of 257/],
  [COMPLETIONS, { prompt: [1e300] }, 400, 'BAD_TOKEN', null, /outside the vocabulary/],
  [COMPLETIONS, { prompt: [0.5] }, 400, 'BAD_TOKEN', null, /outside the vocabulary/],
  [COMPLETIONS, { prompt: 'x'.repeat(2049) }, 400, 'BAD_OPTION', null, /2049 tokens.*at most 2048/],
  [COMPLETIONS, { ...ask, max_tokens: -1 }, 400, 'BAD_OPTION', 'max_tokens', /whole number from 0/],
  [COMPLETIONS, { ...ask, max_tokens: 1e40 }, 400, 'BAD_OPTION', 'max_tokens', /whole number/],
  [COMPLETIONS, { ...ask, max_tokens: '5' }, 400, 'BAD_OPTION', 'max_tokens', /whole number/],
  [COMPLETIONS, { ...ask, temperature: -1 }, 400, 'BAD_OPTION', 'temperature', /a number from 0 on, not -1/],
  [COMPLETIONS, '{"prompt": "x", "temperature": 1e999}', 400, 'BAD_OPTION', 'temperature', /./],
  [COMPLETIONS, { ...ask, top_p: 0 }, 400, 'BAD_OPTION', 'top_p', /positive number up to 1/],
  [COMPLETIONS, { ...ask, top_p: 1.5 }, 400, 'BAD_OPTION', 'top_p', /positive number up to 1/],
  [COMPLETIONS, { ...ask, n: 0 }, 400, 'BAD_OPTION', 'n', /whole number from 1/],
  [COMPLETIONS, { ...ask, n: 65 }, 400, 'BAD_OPTION', null, /65 answers/],
  [COMPLETIONS, { ...ask, n: 1e15 }, 400, 'BAD_OPTION', 'n', /to 1024/],
  [COMPLETIONS, { ...ask, seed: -1 }, 400, 'BAD_OPTION', 'seed', /from 0 on/],
  [COMPLETIONS, { ...ask, stop: '' }, 400, 'BAD_OPTION', 'stop', /expected text/],
  [COMPLETIONS, { ...ask, stop: ['a', 3] }, 400, 'BAD_OPTION', 'stop', /expected a string or a list/],
  [COMPLETIONS, { ...ask, stream: 'yes' }, 400, 'BAD_OPTION', 'stream', /true or false/],
  [COMPLETIONS, { ...ask, logprobs: 101 }, 400, 'BAD_OPTION', 'logprobs', /to 100/],
  [COMPLETIONS, { ...ask, best_of: 3 }, 400, 'BAD_OPTION', 'best_of', /./],
  [COMPLETIONS, { ...ask, logit_bias: { 5: 1 } }, 400, 'BAD_OPTION', 'logit_bias.5', /no field/],
  [COMPLETIONS, { ...ask, temprature: 1 }, 400, 'BAD_OPTION', 'temprature', /no field 'temprature'/],
  [COMPLETIONS, { ...ask, without: ['math'] }, 400, 'BAD_OPTION', null, /no expert/],
  [COMPLETIONS, { ...ask, logprobs: 'x'.repeat(99_999) }, 400, 'BAD_OPTION', 'logprobs', /^.{0,200}$/],
  [COMPLETIONS, { ...ask, ['x'.repeat(99_999)]: 1 }, 400, 'BAD_OPTION', `${'x'.repeat(200)}…`, /^.{0,300}$/],
  [COMPLETIONS, { ...ask, model: 'x'.repeat(99_999) }, 404, 'NOT_FOUND', 'model', /^.{0,200}$/],
  [COMPLETIONS, { ...ask, model: 'other' }, 404, 'NOT_FOUND', 'model', /'other'.*'tiny'/],
  [COMPLETIONS, { prompt: 'x'.repeat(300_000) }, 413, 'TOO_LARGE', null, /0.25 MiB/],
  [CHAT, { messages: [] }, 400, 'BAD_OPTION', 'messages', /one message/],
  [CHAT, { messages: [{ content: 'x' }] }, 400, 'BAD_OPTION', 'messages.0.role', /string/],
  [CHAT, { messages: [{ role: 'user', content: 5 }] }, 400, 'BAD_OPTION', 'messages.0.content', /expected a text/],
  [CHAT, { messages: [user, user] }, 400, 'BAD_OPTION', null, /one at a time/],
  [CHAT, { messages: [user], top_logprobs: 2 }, 400, 'BAD_OPTION', 'top_logprobs', /logprobs: true/],
  [
    CHAT,
    { messages: [user], chat_template_kwargs: { messages: [] } },
    400,
    'BAD_OPTION',
    'chat_template_kwargs',
    /other names than messages/,
  ],
  [CHAT, { messages: [user], tools: [] }, 400, 'BAD_OPTION', 'tools', /no field 'tools'/],
  ['/tokenize', {}, 400, 'BAD_OPTION', 'prompt', /either/],
  ['/tokenize', { prompt: 5 }, 400, 'BAD_OPTION', 'prompt', /string/],
  ['/detokenize', { tokens: [999] }, 400, 'BAD_TOKEN', null, /999/],
  [COMPLETIONS, `{"prompt": "x", "stop": [${many('[]')}]}`, 413, 'TOO_LARGE', null, /16384 values/],
  [COMPLETIONS, `{"prompt": [1, ${many('""')}]}`, 413, 'TOO_LARGE', null, /16384 values/],
  [CHAT, `{"messages": [[${many('{}')}]]}`, 413, 'TOO_LARGE', null, /16384 values/],
  [COMPLETIONS, { prompt: new Array(1001).fill('x') }, 429, 'BUSY', null, /1001 prompts .* 1000 may wait/],
  [COMPLETIONS, { prompt: new Array(60_000).fill(1) }, 400, 'BAD_OPTION', null, /60000 tokens.*at most 2048/],
  ['/detokenize', { tokens: new Array(2049).fill(1) }, 400, 'BAD_OPTION', 'tokens', /2049 came/],
  ['/detokenize', { tokens: 'x' }, 400, 'BAD_OPTION', 'tokens', /array/],
  ['/v1/embeddings', { input: 'x' }, 404, 'NOT_FOUND', null, /no POST \/v1\/embeddings/],
];

limits('what is malformed is refused with a status, a code and the field', async () => {
  // Twice: what was refused does not stand in the way of what comes behind it.
  for (const [path, body, status, code, param, words] of [...REFUSED, ...REFUSED]) {
    const shown = (typeof body === 'string' ? body : JSON.stringify(body)).slice(0, 80);
    const response = await server.post(path, body);
    const { error } = (await response.json()) as Failure;
    assert.is(response.status, status, `${shown}: ${error.message}`);
    assert.equal([error.code, error.param], [code, param], `${shown}: ${error.message}`);
    assert.match(error.message, words, shown);
    assert.is(error.type, status === 429 ? 'rate_limit_error' : 'invalid_request_error');
  }
  assert.is((await server.post(COMPLETIONS, ask)).status, 200);
  assert.equal(server.failures, []);
});

limits('only JSON is read, so that pages of other origins must ask first', async () => {
  const plain = await server.post(COMPLETIONS, ask, { 'Content-Type': 'text/plain' });
  assert.is(plain.status, 415);
  assert.is(plain.headers.get('access-control-allow-origin'), null);
  const open = await serve({ tiny: model }, { cors: 'https://page.example' });
  const asked = await fetch(open.url + COMPLETIONS, {
    method: 'OPTIONS',
    headers: { Origin: 'https://page.example', 'Access-Control-Request-Method': 'POST' },
  });
  assert.is(asked.headers.get('access-control-allow-origin'), 'https://page.example');
  await open.close();
});

/** The status that a path has for a client that calls the server by this name. */
async function statusFor(host: string, from: TestServer, headers: Record<string, string> = {}): Promise<number> {
  const asked = request(`${from.url}/v1/models`, { headers: { Host: host, ...headers } }).end();
  const [response] = await once(asked, 'response');
  response.resume();
  return response.statusCode;
}

limits('a page whose name was made to lead to this machine is not answered, unless it knows the key', async () => {
  const { port } = new URL(server.url);
  const foreign = [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.7',
  ];
  for (const host of foreign) assert.is(await statusFor(host, server), 403, host);
  const own = [
    'localhost',
    `LOCALHOST:${port}`,
    'bts.localhost',
    '127.0.0.1',
    '127.1.2.3:80',
    `[::1]:${port}`,
    'localhost.',
  ];
  for (const host of own) assert.is(await statusFor(host, server), 200, host);
  const locked = await serve({ tiny: model }, { apiKey: 'k' });
  assert.is(await statusFor('models.example', locked, { Authorization: 'Bearer k' }), 200);
  await locked.close();
  const open = await serve({ tiny: model }, { host: '0.0.0.0' });
  assert.is(await statusFor('models.example', open), 200);
  await open.close();
});

limits('texts that cannot fit the model are refused before time is spent on their tokens', async () => {
  // 256 characters for each position.
  const large = await serve({ tiny: model }, { maxBody: 2 });
  const text = 'x'.repeat(256 * 2048 + 1);
  for (const [path, body, param] of [
    [COMPLETIONS, { prompt: text }, 'prompt'],
    [CHAT, { messages: [{ role: 'user', content: text }] }, 'messages'],
    ['/tokenize', { prompt: text }, 'prompt'],
    ['/tokenize', { messages: [{ role: 'user', content: text }] }, 'messages'],
  ] as const) {
    const response = await large.post(path, body);
    const { error } = (await response.json()) as Failure;
    assert.equal([response.status, error.param], [400, param]);
    assert.match(error.message, /524289 characters, which do not fit/);
  }
  await large.close();
});

limits('tokens and text are turned into each other', async () => {
  const tokens = await (await server.post('/tokenize', { prompt: 'héllo' })).json();
  assert.equal(tokens, { tokens: [...Buffer.from('héllo')], count: 6, max_model_len: 2048 });
  const chat = await (await server.post('/tokenize', { messages: [user] })).json();
  assert.equal((chat as { tokens: number[] }).tokens, [...Buffer.from('hi')]);
  const text = await (await server.post('/detokenize', { tokens: [104, 195, 169] })).json();
  assert.equal(text, { prompt: 'hé' });
});

limits('a body whose length is not said beforehand is read', async () => {
  const call = request(server.url + COMPLETIONS, { method: 'POST', headers: { 'Content-Type': 'application/json' } });
  const answered = once(call, 'response');
  const body = JSON.stringify({ ...ask, seed: 1 });
  call.write(body.slice(0, 9));
  await setTimeout(30);
  // More than is made room for at first, and in pieces that are no part of it.
  for (let i = 0; i < 20; i++) call.write(' '.repeat(9_999));
  call.end(body.slice(9));
  const [response] = await answered;
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  assert.is(response.statusCode, 200, text);
  const whole = (await (await server.post(COMPLETIONS, body)).json()) as { choices: object };
  assert.equal(JSON.parse(text).choices, whole.choices);
});

limits('who leaves while he still sends is no fault of the server', async () => {
  const refused = await metric('bts_requests_total{path="/v1/completions",status="400"}');
  for (const length of [{}, { 'Content-Length': 1000 }]) {
    const headers = { 'Content-Type': 'application/json', ...length };
    const call = request(server.url + COMPLETIONS, { method: 'POST', headers });
    call.on('error', () => {});
    call.write('{"prompt":');
    await setTimeout(50);
    call.destroy();
  }
  await until(async () => (await metric('bts_requests_total{path="/v1/completions",status="400"}')) === refused + 2);
  assert.equal(server.failures, []);
});

limits('who sends more than is read, by and by, is told so', async () => {
  const part = Buffer.alloc(1 << 16, 'x');
  for (const [path, parts, status] of [
    [COMPLETIONS, 30, 413],
    ['/v1/embeddings', 3, 404],
  ] as const) {
    for (const known of [true, false]) {
      const length = known ? { 'Content-Length': parts * part.length } : {};
      const call = request(server.url + path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...length },
      });
      const answered = once(call, 'response');
      for (let i = 0; i < parts; i++) {
        await new Promise<void>((resolve, reject) => call.write(part, (error) => (error ? reject(error) : resolve())));
        await setTimeout(30);
      }
      call.end();
      const [response] = await answered;
      response.resume();
      assert.is(response.statusCode, status, `${path}, length ${known ? 'known' : 'unknown'}`);
    }
  }
});

limits('who wants too much at once is told to come back', async () => {
  const small = await serve({ tiny: model }, { maxQueue: 2, maxSequences: 1, maxTokens: 100, apiKey: 'k' });
  const headers = { Authorization: 'Bearer k' };
  const busy = await small.post(COMPLETIONS, { prompt: ['a', 'b', 'c'] }, headers);
  assert.is(busy.status, 429);
  assert.is(busy.headers.get('retry-after'), '1');
  assert.match(((await busy.json()) as Failure).error.message, /3 prompts came.*maxQueue/);
  const long = await small.post(COMPLETIONS, { prompt: 'a', max_tokens: 101 }, headers);
  assert.match(((await long.json()) as Failure).error.message, /101 were asked for, 100 are allowed/);
  for (const wrong of [{}, { Authorization: 'Bearer kk' }, { Authorization: 'k' }, { Authorization: 'Bearer ' }]) {
    assert.is((await small.post(COMPLETIONS, ask, wrong)).status, 401);
    assert.is((await fetch(`${small.url}/metrics`, { headers: wrong })).status, 401);
  }
  assert.is((await fetch(`${small.url}/health`)).status, 200);
  await small.close();
});

limits('an answer that takes too long ends', async () => {
  const hasty = await serve({ tiny: model }, { timeout: 0.3 });
  const late = await hasty.post(COMPLETIONS, { prompt: 'x', max_tokens: 2000, n: 60 });
  assert.is(late.status, 408);
  assert.is(((await late.json()) as Failure).error.code, 'TIMED_OUT');
  const stream = await hasty.post(COMPLETIONS, { prompt: 'x', max_tokens: 2000, n: 60, stream: true });
  assert.match((await stream.text()).trim().split('\n').at(-1)!, /^data: \{"error":.*"TIMED_OUT"/);
  assert.is(await metric('bts_running_sequences', hasty), 0);
  await hasty.close();
});

limits('64 at once, streamed or not, each get the answer that they get alone', async () => {
  const bodies = Array.from({ length: 64 }, (_, i) => ({
    prompt: `${'once upon a time '.repeat(i % 5)}number ${i}`,
    max_tokens: 5 + (i % 20),
    seed: i,
    temperature: i % 3 === 0 ? 0 : 1,
    logprobs: i % 4 === 0 ? 2 : null,
    n: 1 + (i % 2),
    stream: i % 5 === 0,
  }));
  const answerOf = async (body: object) => {
    const response = await server.post(COMPLETIONS, body);
    assert.is(response.status, 200);
    // But for the number and the time of the answer.
    return (await response.text()).replace(/"id":"cmpl-[\w-]+"|"created":\d+/g, '');
  };
  const together = await Promise.all(bodies.map(answerOf));
  for (const [i, body] of bodies.entries()) {
    const alone = await answerOf(body);
    // Which of several answers is told first hangs on nothing that matters.
    const parts = (text: string) => text.split('\n\n').sort();
    assert.equal(parts(together[i]!), parts(alone), `request ${i}`);
  }
});

limits('who leaves in mid-stream is not computed for any more', async () => {
  await server.post(COMPLETIONS, ask);
  const before = await metric('bts_generated_tokens_total');
  const leave = async (stream: boolean) => {
    const body = JSON.stringify({ prompt: 'x', max_tokens: 2000, n: 4, stream });
    const call = request(server.url + COMPLETIONS, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
    });
    call.on('error', () => {});
    call.end(body);
    if (stream) {
      const [response] = await once(call, 'response');
      await once(response, 'data');
    } else await until(async () => (await metric('bts_running_sequences')) > 0);
    call.destroy();
  };
  for (const stream of [true, false]) {
    await leave(stream);
    await until(async () => (await metric('bts_running_sequences')) === 0);
  }
  assert.ok((await metric('bts_generated_tokens_total')) - before < 7000, 'the answers were not computed to their end');
});

limits('who reads slowly gets all of it, and nobody waits for him', async () => {
  const body = JSON.stringify({ prompt: 'x', max_tokens: 1500, stream: true, logprobs: 100, seed: 1 });
  const call = request(server.url + COMPLETIONS, { method: 'POST', headers: { 'Content-Type': 'application/json' } });
  call.end(body);
  const [response] = await once(call, 'response');
  response.pause();
  // More than sockets hold was computed, and others were answered meanwhile.
  assert.is((await server.post(COMPLETIONS, ask)).status, 200);
  await until(async () => (await metric('bts_running_sequences')) === 0);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  const events = text.trim().split('\n\n');
  const fast = await (await server.post(COMPLETIONS, body)).text();
  assert.ok(text.length > 1e6);
  assert.is(events.length, fast.trim().split('\n\n').length);
  assert.is(events.at(-1), 'data: [DONE]');
});

limits('connections that say nothing hinder nobody', async () => {
  const { port } = new URL(server.url);
  const silent = Array.from({ length: 500 }, (_, i) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    if (i % 2) socket.write('POST /v1/completions HTTP/1.1\r\nContent-Length: 1000\r\n');
    return socket;
  });
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  assert.is((await server.post(COMPLETIONS, ask)).status, 200);
  for (const socket of silent) socket.destroy();
});

limits('what was there is finished when the server closes, and memory is as it was', async () => {
  const own = await serve({ tiny: model });
  const before = await liveBytes(device);
  const answers = Array.from({ length: 6 }, (_, i) =>
    own.post(COMPLETIONS, { prompt: `number ${i}`, max_tokens: 1500, stream: i % 2 === 0 }),
  );
  await until(async () => (await metric('bts_running_sequences', own)) >= 5);
  const closed = own.close();
  for (const answer of answers) {
    const response = await answer;
    assert.is(response.status, 200);
    assert.match(await response.text(), /"finish_reason":"(length|stop)"/);
  }
  await closed;
  const refused = await own.post(COMPLETIONS, ask).then(
    () => false,
    () => true,
  );
  assert.ok(refused, 'nobody listens any more');
  assert.ok((await liveBytes(device)) <= before);
  assert.equal(own.failures, []);
});

limits('a port that is taken is told', async () => {
  const port = Number(new URL(server.url).port);
  await fails(() => serve({ tiny: model }, { port }), 'BAD_OPTION', /another program listens/);
});

limits.run();
