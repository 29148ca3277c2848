import { createHash, timingSafeEqual } from 'node:crypto';
import { getConnInfo } from '@hono/node-server/conninfo';
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import { BtsError } from '../../base/errors.js';
import { cut } from '../../base/show.js';
import { encodePrompt } from '../../model/decoding/generate.js';
import type { Engine } from '../engine.js';
import { type Asker, expectFits } from './answering.js';
import { limitBody, lingerOverBody } from './body.js';
import { chat } from './chat.js';
import { complete } from './completions.js';
import { Fault, toFault } from './faults.js';
import { countGates } from './gates.js';
import { isLoopback, ownHostsOnly } from './host.js';
import { Metrics, type Reading } from './metrics.js';
import type { ServerSettings } from './options.js';
import { addPage } from './page.js';
import { type Reply, streamedReply, wholeReply } from './reply.js';
import { ChatBody, CompletionBody, DetokenizeBody, readBody, TokenizeBody, textsOf } from './requests.js';
import type { ServedModel } from './served-model.js';
import { TimeLimit } from './time-limit.js';

export interface App {
  fetch: Hono['fetch'];
  /** Refuses what comes from now on. */
  stop(): void;
}

/** The API of OpenAI for the models given. */
export function createApp(models: readonly ServedModel[], settings: ServerSettings): App {
  const app = new Hono();
  const metrics = new Metrics();
  const created = Math.floor(Date.now() / 1000);
  let isStopping = false;

  const find = (name: string | null | undefined): ServedModel => {
    if (name == null && models.length === 1) return models[0]!;
    const found = models.find(({ id }) => id === name);
    if (found) return found;
    const served = models.map(({ id }) => `'${id}'`).join(', ');
    throw new Fault(404, 'NOT_FOUND', `model: there is no '${cut(name ?? '')}' here, served are ${served}.`, 'model');
  };

  /** What a client is told of an error; what nobody expected goes into the log. */
  const tell = (error: unknown): Fault => {
    const isKnown = error instanceof Fault || error instanceof BtsError;
    if (!isKnown) settings.onError(error as Error);
    return toFault(error);
  };

  /** Answers a question, bit by bit where the client wants that, and counts. */
  const answer = async <Body extends CompletionBody | ChatBody>(
    c: Context,
    body: Body,
    compute: (served: ServedModel, body: Body, asker: Asker) => Reply | Promise<Reply>,
  ): Promise<Response> => {
    const served = find(body.model);
    const limit = new TimeLimit(c.req.raw.signal, 1000 * settings.timeout);
    const began = performance.now();
    let isFirst = true;
    const labels = { model: served.id };
    const onToken = (part: object) => {
      countGates(metrics, served.id, part);
      if (!isFirst) return;
      isFirst = false;
      metrics.observe('bts_first_token_seconds', 'From a request to the first of its answer.', since(began));
    };
    let usage: Reply['usage'] | undefined;
    const onEnd = (error?: unknown) => {
      const { isOver } = limit;
      limit[Symbol.dispose]();
      metrics.observe('bts_answer_seconds', 'From a request to the end of its answer.', since(began));
      metrics.add('bts_prompt_tokens_total', 'Tokens of prompts.', labels, usage?.prompt_tokens ?? 0);
      metrics.add('bts_generated_tokens_total', 'Tokens of answers.', labels, usage?.completion_tokens ?? 0);
      if (!isOver || error === undefined) return error;
      return new Fault(408, 'TIMED_OUT', `the answer took longer than ${settings.timeout} seconds (timeout).`);
    };
    try {
      const asker = { client: clientOf(c), signal: limit.signal, maxTokens: settings.maxTokens };
      const reply = await compute(served, body, asker);
      usage = reply.usage;
      if (body.stream) {
        const tellsUsage = body.stream_options?.include_usage === true;
        return await streamedReply(reply, served.id, { tellsUsage, onToken, onEnd, tell });
      }
      const whole = await wholeReply(reply, served.id, onToken);
      onEnd();
      return whole;
    } catch (error) {
      throw onEnd(error);
    }
  };

  app.use(lingerOverBody);
  app.use(async (c, next) => {
    await next();
    const labels = { path: knownPath(c), status: c.res.status };
    metrics.add('bts_requests_total', 'Requests by their status.', labels);
  });
  if (isLoopback(settings.host) && settings.apiKey === undefined) app.use(ownHostsOnly);
  if (settings.cors !== undefined) app.use(cors({ origin: settings.cors }));
  app.get('/health', (c) => {
    const failed = models.find(({ engine }) => engine.deviceFailure)?.engine.deviceFailure;
    if (isStopping) throw stopping();
    return failed ? toFault(failed).toResponse() : c.json({ status: 'ok' });
  });
  addPage(app);
  app.use(async (c, next) => {
    if (settings.apiKey !== undefined && !isKey(c.req.header('authorization'), settings.apiKey)) {
      throw new Fault(401, 'UNAUTHORIZED', "expected the server's key: send 'Authorization: Bearer KEY'.");
    }
    if (isStopping) throw stopping();
    await next();
  });
  app.use(limitBody(settings.maxBody));

  const describe = ({ id, model, engine }: ServedModel) => ({
    id,
    object: 'model',
    created,
    owned_by: 'branch-train-stitch',
    max_model_len: model.config.maxPositions,
    experts: engine.experts,
    gates: model.hasGates,
    chat: model.hasChatTemplate,
  });
  app.get('/v1/models', (c) => c.json({ object: 'list', data: models.map(describe) }));
  app.get('/v1/models/:id{.+}', (c) => c.json(describe(find(c.req.param('id')))));
  app.post('/v1/completions', async (c) => answer(c, await readBody(c.req.raw, CompletionBody), complete));
  app.post('/v1/chat/completions', async (c) => answer(c, await readBody(c.req.raw, ChatBody), chat));
  app.post('/tokenize', async (c) => {
    const { model: name, prompt = '', messages, add_special_tokens } = await readBody(c.req.raw, TokenizeBody);
    const served = find(name);
    const { model } = served;
    expectFits(served, messages ? textsOf(messages) : [prompt], messages ? 'messages' : 'prompt');
    const tokens = messages
      ? model.tokenizer.encodeChat(messages, { addGenerationPrompt: true })
      : add_special_tokens === false
        ? model.tokenizer.encode(prompt, { specials: false })
        : encodePrompt(model, prompt);
    return c.json({ tokens, count: tokens.length, max_model_len: model.config.maxPositions });
  });
  app.post('/detokenize', async (c) => {
    const { model: name, tokens } = await readBody(c.req.raw, DetokenizeBody);
    const { model } = find(name);
    const { maxPositions } = model.config;
    if (tokens.length > maxPositions) {
      const message = `tokens: ${tokens.length} came, the model takes at most ${maxPositions}.`;
      throw new Fault(400, 'BAD_OPTION', message, 'tokens');
    }
    return c.json({ prompt: model.tokenizer.decode(tokens) });
  });
  app.get('/metrics', (c) =>
    c.body(metrics.text(readings(models)), 200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.notFound((c) => new Fault(404, 'NOT_FOUND', `there is no ${c.req.method} ${c.req.path} here.`).toResponse());
  app.onError((error) => tell(error).toResponse());
  return {
    fetch: app.fetch,
    stop: () => {
      isStopping = true;
    },
  };
}

/** What engines, devices and the process say of themselves. */
function readings(models: readonly ServedModel[]): Reading[] {
  const each = (value: (engine: Engine) => number) =>
    models.map(({ id, engine }) => [{ model: id }, value(engine)] as const);
  const gauge = (name: string, help: string, values: Reading['values']): Reading => ({
    name,
    help,
    type: 'gauge',
    values,
  });
  const devices = [...new Set(models.map(({ model }) => model.device))];
  const inUse = devices.map((device) => [{ device: device.name }, device.memory().liveBytes] as const);
  return [
    gauge(
      'bts_waiting_prompts',
      'Prompts in the queue.',
      each(({ waiting }) => waiting),
    ),
    gauge(
      'bts_running_sequences',
      'Prompts and answers that are computed.',
      each(({ running }) => running),
    ),
    gauge(
      'bts_cache_bytes',
      'Keys and values of all sequences.',
      each(({ cacheBytes }) => cacheBytes),
    ),
    gauge('bts_device_bytes', 'Memory of the device that is in use.', inUse),
    gauge('process_resident_memory_bytes', 'Of the process.', [[{}, process.memoryUsage.rss()]]),
    {
      name: 'bts_computed_prompt_tokens_total',
      help: 'Tokens of prompts that were computed, and not shared with another prompt.',
      type: 'counter',
      values: each(({ computedPromptTokens }) => computedPromptTokens),
    },
  ];
}

const since = (began: number) => (performance.now() - began) / 1000;
const stopping = () => new Fault(503, 'STOPPING', 'the server is being stopped.');

const PATHS = [
  '/',
  '/v1/completions',
  '/v1/chat/completions',
  '/v1/models',
  '/tokenize',
  '/detokenize',
  '/health',
  '/metrics',
];
/** Paths that do not exist are counted as one: else anybody could fill the memory with them. */
const knownPath = (c: Context) => (PATHS.includes(c.req.path) ? c.req.path : 'other');

/** Compares in a time that does not depend on how much of the key is right. */
function isKey(authorization: string | undefined, key: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  const [, given = ''] = /^Bearer +(.*)$/i.exec(authorization ?? '') ?? [];
  return timingSafeEqual(hash(given), hash(key));
}

/** Who is on the other end of the line. */
const clientOf = (c: Context) => getConnInfo(c).remote.address ?? '';
