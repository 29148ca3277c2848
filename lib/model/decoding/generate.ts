import { setImmediate } from 'node:timers/promises';
import { BtsError, throwIfAborted } from '../../base/errors.js';
import type { ChatMessage, ChatOptions } from '../../data/tokenizer/chat-template.js';
import { checkGateRecordOptions, type GateRecordOptions } from '../stitches/gate-log.js';
import { advance, decodeTogether } from './decode-together.js';
import { type GeneratedToken, Generation } from './generation.js';
import type { CacheOptions } from './key-value-cache.js';
import { checkGenerateOptions, checkSampling, type GenerateOptions } from './options.js';
import { PromptMemory } from './prompt-memory.js';
import type { TokenModel } from './token-model.js';

/** A text to continue, its token ids, or a conversation to answer by the tokenizer's chat template. */
export type Prompt = string | readonly number[] | readonly ChatMessage[];

/**
 * Generates token by token with a cache. A stop token comes last and adds no text; text from a stop string on is cut.
 * Several prompts are continued side by side, each as it would be alone but for the rounding of sums; their tokens come
 * interleaved. Of one prompt only what `memory` does not hold is computed, and gates are told of that.
 *
 * Throws BAD_OPTION, BAD_TOKEN, BAD_TOKENIZER, LOSS_NOT_FINITE, ABORTED, DISPOSED.
 */
export async function* generate(
  model: TokenModel,
  prompts: Prompt | readonly Prompt[],
  options: GenerateOptions,
  memory?: PromptMemory,
): AsyncGenerator<GeneratedToken, void> {
  const checked = checkGenerateOptions(options, model.config.vocabularySize);
  const { batchSize, signal } = checked;
  const { maxTokens, seed, stop, logprobs } = checked;
  const settings = {
    ...{ sampling: checkSampling(checked), maxTokens, seed, stop, logprobs },
    stopTokens: new Set(checked.stopTokens ?? model.stopTokens),
  };
  const cacheOptions = { gates: gateOptions(model, options) };
  const lanes: Generation[] = [];
  for (const [index, prompt] of (isOne(prompts) ? [prompts] : prompts).entries()) {
    throwIfAborted(signal, 'generating');
    if (index > 0) await setImmediate();
    const tokens = toTokens(model, prompt, options.chat, isOne(prompts) ? 'the prompt' : `prompt ${index}`);
    lanes.push(new Generation(model, { ...settings, index, prompt: tokens, isText: !isTokens(prompt) }));
  }
  if (maxTokens === 0) return;
  if (memory && lanes.length === 1) yield* memory.continue(model, lanes[0]!, cacheOptions, signal);
  else if (model.decodesTogether && batchSize > 1 && lanes.length > 1)
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
  using once = new PromptMemory();
  yield* once.continue(model, lane, cacheOptions, signal);
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

/** Throws BAD_OPTION where gates are asked for that the model does not have. */
function gateOptions({ hasGates }: TokenModel, { gates = false }: GenerateOptions): GateRecordOptions | undefined {
  if (gates === false) return undefined;
  if (!hasGates) throw new BtsError('BAD_OPTION', 'gates: the model has none, only stitched models have.');
  return checkGateRecordOptions('generate: gates', gates === true ? {} : gates);
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
export function encodePrompt(
  { tokenizer }: Pick<TokenModel, 'tokenizer'>,
  prompt: string | readonly ChatMessage[],
  chat?: ChatOptions,
): number[] {
  if (typeof prompt !== 'string') return tokenizer.encodeChat(prompt, { addGenerationPrompt: true, ...chat });
  const tokens = tokenizer.encode(prompt, { specials: 'before' });
  if (tokens.length > 0) return tokens;
  const first = tokenizer.bosToken ?? tokenizer.eosToken;
  return first === null ? [] : [first];
}
