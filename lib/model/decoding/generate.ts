import { setImmediate } from 'node:timers/promises';
import { type Abortable, BtsError, throwIfAborted } from '../../base/errors.js';
import { expectOptions, type OptionNames } from '../../base/options-check.js';
import type { ChatMessage, ChatOptions } from '../../data/tokenizer/chat-template.js';
import { checkGateRecordOptions, type GateRecordOptions } from '../stitches/gate-log.js';
import { advance, decodeTogether } from './decode-together.js';
import { type GeneratedToken, Generation, type GenerationPlan } from './generation.js';
import type { CacheOptions } from './key-value-cache.js';
import { checkSampling, SAMPLING_OPTIONS, type SamplingOptions } from './sampler.js';
import type { TokenModel } from './token-model.js';

/** A text to continue, its token ids, or a conversation to answer by the tokenizer's chat template. */
export type Prompt = string | readonly number[] | readonly ChatMessage[];

export interface GenerateOptions extends SamplingOptions, Abortable {
  /** Default 256; fewer where the model's positions run out. */
  maxTokens?: number;
  /** The same seed gives the same text; default 0. */
  seed?: number;
  /** Generation ends before any of these strings appears. */
  stop?: readonly string[];
  /** Generation ends at any of these tokens; default: the checkpoint's end-of-text tokens. */
  stopTokens?: readonly number[];
  /** Of a conversation: what its template is told besides the messages. The answer is begun, unless it says otherwise. */
  chat?: ChatOptions;
  /** Tells each token's log-probability, and the so many likeliest ones in its place; 0: its own alone. */
  logprobs?: number | undefined;
  /** Tells how the stitches weighed the members where each token was chosen; only stitched models can. */
  gates?: boolean | GateRecordOptions | undefined;
  /** How many of several prompts are computed together, at most; default 8. */
  batchSize?: number;
}

const GENERATE_OPTIONS: OptionNames<GenerateOptions> = {
  ...SAMPLING_OPTIONS,
  maxTokens: true,
  seed: true,
  stop: true,
  stopTokens: true,
  logprobs: true,
  gates: true,
  batchSize: true,
  chat: true,
  signal: true,
};

/**
 * Generates token by token with a cache. A stop token comes last and adds no text; text from a stop string on is cut.
 * Several prompts are continued side by side, each as it would be alone but for the rounding of sums; their tokens come
 * interleaved. Throws BAD_OPTION, BAD_TOKEN, BAD_TOKENIZER, LOSS_NOT_FINITE, ABORTED, DISPOSED.
 */
export async function* generate(
  model: TokenModel,
  prompts: Prompt | readonly Prompt[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, void> {
  expectOptions('generate', options, GENERATE_OPTIONS);
  const { batchSize = 8, signal } = options;
  expectWhole('batchSize', batchSize, 1);
  const settings = checkSettings(model, options);
  const cacheOptions = { gates: gateOptions(model, options) };
  const lanes: Generation[] = [];
  for (const [index, prompt] of (isOne(prompts) ? [prompts] : prompts).entries()) {
    throwIfAborted(signal, 'generating');
    if (index > 0) await setImmediate();
    const tokens = toTokens(model, prompt, options.chat, isOne(prompts) ? 'the prompt' : `prompt ${index}`);
    lanes.push(new Generation(model, { ...settings, index, prompt: tokens, isText: !isTokens(prompt) }));
  }
  if (settings.maxTokens === 0) return;
  if (model.decodesTogether && batchSize > 1 && lanes.length > 1)
    yield* together(model, lanes, batchSize, cacheOptions, signal);
  else for (const lane of lanes) yield* alone(model, lane, cacheOptions, signal);
}

const isOne = (prompts: Prompt | readonly Prompt[]): prompts is Prompt =>
  typeof prompts === 'string' || !(typeof prompts[0] === 'string' || Array.isArray(prompts[0]));

async function* alone(
  model: TokenModel,
  lane: Generation,
  cacheOptions: CacheOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<GeneratedToken, void> {
  using cache = model.createCache(1, lane.capacity, cacheOptions);
  let ids = lane.prompt;
  do {
    throwIfAborted(signal, 'generating');
    await advance(model, cache, ids, [lane]);
    ids = [lane.next];
    yield lane.latest;
  } while (!lane.isDone);
}

async function* together(
  model: TokenModel,
  lanes: readonly Generation[],
  batchSize: number,
  cacheOptions: CacheOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<GeneratedToken, void> {
  // Prompts are computed one by one, as they are alone, each in the place of the one before it.
  const longest = Math.max(...lanes.map(({ prompt }) => prompt.length));
  using entry = model.createCache(1, longest, cacheOptions);
  const capacity = Math.max(...lanes.map((lane) => lane.capacity));
  using cache = model.createCache(Math.min(batchSize, lanes.length), capacity, cacheOptions);
  const begin = async (lane: Generation) => {
    entry.lengths[0] = 0;
    await advance(model, entry, lane.prompt, [lane]);
    return entry;
  };
  for await (const lane of decodeTogether(model, cache, lanes, begin, signal)) yield lane.latest;
}

function checkSettings(
  model: TokenModel,
  options: GenerateOptions,
): Omit<GenerationPlan, 'index' | 'prompt' | 'isText'> {
  const { maxTokens = 256, seed = 0, stop = [], logprobs } = options;
  const sampling = checkSampling(options);
  expectWhole('maxTokens', maxTokens, 0);
  if (stop.includes('')) throw new BtsError('BAD_OPTION', 'an empty stop string would end every text at once.');
  if (logprobs !== undefined) expectWhole('logprobs', logprobs, 0, model.config.vocabularySize);
  const stopTokens = new Set(options.stopTokens ?? model.stopTokens);
  return { sampling, maxTokens, seed, stop, stopTokens, logprobs };
}

/** Throws BAD_OPTION where gates are asked for that the model does not have. */
function gateOptions({ hasGates }: TokenModel, { gates = false }: GenerateOptions): GateRecordOptions | undefined {
  if (gates === false) return undefined;
  if (!hasGates) throw new BtsError('BAD_OPTION', 'gates: the model has none, only stitched models have.');
  const asked = gates === true ? {} : gates;
  expectOptions('generate: gates', asked, { quantiles: true });
  checkGateRecordOptions(asked);
  return asked;
}

function expectWhole(name: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
  throw new BtsError('BAD_OPTION', `${name} must be a whole number ${range}, not ${value}.`);
}

/** Throws BAD_OPTION where there are none, or more than the model has positions. */
function toTokens(model: TokenModel, prompt: Prompt, chat: ChatOptions | undefined, name: string): readonly number[] {
  const tokens = isTokens(prompt) ? [...prompt] : encodePrompt(model, prompt, chat);
  const { maxPositions } = model.config;
  if (tokens.length > 0 && tokens.length <= maxPositions) return tokens;
  throw new BtsError('BAD_OPTION', `${name} has ${tokens.length} tokens, expected 1 to ${maxPositions}.`);
}

const isTokens = (prompt: Prompt): prompt is readonly number[] =>
  typeof prompt !== 'string' && typeof prompt[0] !== 'object';

/**
 * A text's tokens, begun as the tokenizer begins texts; an empty one begins with the token that begins or ends texts. How a
 * conversation begins is up to its template.
 */
function encodePrompt(
  { tokenizer }: TokenModel,
  prompt: string | readonly ChatMessage[],
  chat?: ChatOptions,
): number[] {
  if (typeof prompt !== 'string') return tokenizer.encodeChat(prompt, { addGenerationPrompt: true, ...chat });
  const tokens = tokenizer.encode(prompt, { specials: 'before' });
  if (tokens.length > 0) return tokens;
  const first = tokenizer.bosToken ?? tokenizer.eosToken;
  return first === null ? [] : [first];
}
