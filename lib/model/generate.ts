import { Random } from '../data/random.js';
import type { ChatMessage, ChatOptions } from '../data/tokenizer/chat-template.js';
import type { StreamDecoder, Tokenizer } from '../data/tokenizer.js';
import { BtsError } from '../errors.js';
import type { LanguageModel } from './language-model.js';
import { checkSampling, type SamplingOptions } from './sampler.js';
import { StopStrings } from './stop-strings.js';

/** A text to continue, its token ids, or a conversation to answer by the tokenizer's chat template. */
export type Prompt = string | readonly number[] | readonly ChatMessage[];

export interface GenerateOptions extends SamplingOptions {
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
  signal?: AbortSignal | undefined;
}

export interface GeneratedToken {
  id: number;
  /**
   * The text that became certain with this token: '' while a character is incomplete or a stop string may begin. Token
   * ids without stop strings are continued without a tokenizer, and without text.
   */
  text: string;
  /** On the last token: why generation ended. */
  finish?: 'stop' | 'length';
}

/**
 * Generates token by token with a cache. A stop token comes last and adds no text; text from a stop string on is cut.
 * Throws BAD_OPTION, BAD_TOKEN, BAD_TOKENIZER, ABORTED.
 */
export async function* generate(
  model: LanguageModel,
  prompt: Prompt,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, void> {
  const { maxTokens = 256, seed = 0, stop = [], signal } = options;
  const sampling = checkSampling(options);
  if (!Number.isInteger(maxTokens) || maxTokens < 0) {
    throw new BtsError('BAD_OPTION', `maxTokens must be a whole number from 0 on, not ${maxTokens}.`);
  }
  if (stop.includes('')) throw new BtsError('BAD_OPTION', 'an empty stop string would end every text at once.');
  const tokens = isTokens(prompt) ? [...prompt] : encodePrompt(model, prompt, options.chat);
  const room = model.config.maxPositions - tokens.length;
  if (tokens.length === 0 || room < 0) {
    throw new BtsError(
      'BAD_OPTION',
      `the prompt has ${tokens.length} tokens, expected 1 to ${model.config.maxPositions}.`,
    );
  }

  const stopTokens = new Set(options.stopTokens ?? model.stopTokens);
  const wanted = Math.min(maxTokens, room + 1);
  const random = new Random(seed, 'generate');
  const needsText = !isTokens(prompt) || stop.length > 0;
  const decoder = needsText ? continueText(model.tokenizer, tokens) : undefined;
  const stops = new StopStrings(stop);

  using cache = model.createCache(1, Math.min(model.config.maxPositions, tokens.length + wanted));
  let next: readonly number[] = tokens;
  for (let count = 1; count <= wanted; count++) {
    if (signal?.aborted) throw new BtsError('ABORTED', 'generating was stopped.', { cause: signal.reason });
    const [id = 0] = await model.next(cache, next, [{ options: sampling, seen: tokens, random }]);
    if (stopTokens.has(id)) {
      const text = stops.push(decoder?.end() ?? '') + stops.end();
      yield { id, text, finish: 'stop' };
      return;
    }
    tokens.push(id);
    next = [id];
    let text = stops.push(decoder?.push(id) ?? '');
    const last = count === wanted;
    if (last && !stops.stopped) text += stops.push(decoder?.end() ?? '') + stops.end();
    if (stops.stopped) {
      yield { id, text, finish: 'stop' };
      return;
    }
    yield last ? { id, text, finish: 'length' } : { id, text };
  }
}

const isTokens = (prompt: Prompt): prompt is readonly number[] =>
  typeof prompt !== 'string' && typeof prompt[0] !== 'object';

/**
 * A text's tokens, begun as the tokenizer begins texts; an empty one begins with the token that begins or ends texts. How a
 * conversation begins is up to its template.
 */
function encodePrompt(
  { tokenizer }: LanguageModel,
  prompt: string | readonly ChatMessage[],
  chat?: ChatOptions,
): number[] {
  if (typeof prompt !== 'string') return tokenizer.encodeChat(prompt, { addGenerationPrompt: true, ...chat });
  const tokens = tokenizer.encode(prompt);
  if (tokens.length > 0) return tokens;
  const first = tokenizer.bosToken ?? tokenizer.eosToken;
  return first === null ? [] : [first];
}

/**
 * Decodes what follows a prompt: how a token reads may depend on those before it. Special tokens are not text, nor are the
 * ids with which checkpoints pad their vocabulary.
 */
function continueText(tokenizer: Tokenizer, prompt: readonly number[]): StreamDecoder {
  const isKnown = (id: number) => id < tokenizer.vocabularySize;
  const decoder = tokenizer.createDecoder({ skipSpecials: true });
  const before = prompt.filter(isKnown);
  const shown = before.map((id) => decoder.push(id)).join('');
  // Of a prompt that ends in byte tokens, the decoder holds some back until it sees what follows.
  let held = tokenizer.decode(before, { skipSpecials: true }).slice(shown.length);
  const withoutHeld = (text: string) => {
    const own = text.startsWith(held) ? text.slice(held.length) : text;
    if (text !== '') held = '';
    return own;
  };
  return {
    push: (id) => withoutHeld(isKnown(id) ? decoder.push(id) : ''),
    end: () => withoutHeld(decoder.end()),
  };
}
