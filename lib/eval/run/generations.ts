import { DecoderModel } from '../../model/decoder-model.js';
import { appendTokens, LEAST_ROWS, padded } from '../../model/decoding/append-tokens.js';
import { decodeTogether } from '../../model/decoding/decode-together.js';
import { sample } from '../../model/decoding/sampler.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { Generation } from '../task.js';
import { largest } from './extremes.js';
import { Lane } from './lane.js';
import { generateOneByOne } from './one-by-one.js';
import { prefill } from './prefill.js';
import { groupByPrefix } from './prefixes.js';
import { PromptEncoder } from './prompts.js';
import type { RunOptions } from './run-options.js';
import { mapInTurns } from './turns.js';

const MOST_TOKENS = 256;

/** A prompt to be continued once. */
export interface GenerationRequest {
  prompt: string;
  generation: Generation;
  /** The same seed gives the same text. */
  seed: number;
}

export interface GenerationResult {
  /** Which request. */
  index: number;
  text: string;
  /** Tokens generated. */
  tokens: number;
  /** Whether the prompt was too long and lost its beginning. */
  isCut: boolean;
}

/** A prompt as tokens. */
export interface GenerationItem {
  index: number;
  prompt: number[];
  maxTokens: number;
  isCut: boolean;
}

/**
 * Continues each prompt until a stop string, an end-of-text token or `maxTokens`. What prompts have in common is computed once;
 * a sequence that has ended makes room for the next. Results come as they end, and do not depend on the batch size.
 *
 * Texts are decoded without their prompt, as lm-eval does. Where a prompt and `maxTokens` do not fit the model together, at
 * most half of its positions are for the text, and the prompt loses its beginning.
 *
 * Throws BAD_OPTION, BAD_TOKENIZER, LOSS_NOT_FINITE, ABORTED.
 */
export async function* generateTexts(
  model: LanguageModel,
  requests: readonly GenerationRequest[],
  options: RunOptions,
): AsyncGenerator<GenerationResult> {
  const encoder = new PromptEncoder(model.tokenizer);
  const { maxPositions } = model.config;
  const encode = ({ prompt, generation }: GenerationRequest, index: number): GenerationItem => {
    const tokens = encoder.encodePrompt(prompt);
    const maxTokens = Math.min(generation.maxTokens ?? MOST_TOKENS, Math.max(1, Math.floor(maxPositions / 2)));
    const kept = tokens.slice(-Math.max(1, maxPositions - maxTokens));
    return { index, prompt: kept, maxTokens, isCut: kept.length < tokens.length };
  };
  const items = await mapInTurns(requests, encode, options.signal);
  if (!(model instanceof DecoderModel)) {
    yield* generateOneByOne(model, requests, items, options);
    return;
  }
  const prompts = items.map(({ prompt }) => prompt);
  const groups = options.sharePrefixes ? groupByPrefix(prompts) : [{ prefix: 0, members: [...items.keys()] }];
  for (const { prefix, members } of groups) {
    const group = members.map((member) => items[member]!);
    yield* generateGroup(model, requests, group, prefix, options);
  }
}

async function* generateGroup(
  model: DecoderModel,
  requests: readonly GenerationRequest[],
  items: readonly GenerationItem[],
  prefix: number,
  { batchSize, signal }: RunOptions,
): AsyncGenerator<GenerationResult> {
  const longest = largest(items.map(({ prompt }) => prompt.length));
  const most = largest(items.map(({ prompt, maxTokens }) => prompt.length + maxTokens));
  // Prompts are computed one by one, each in the place of the one before it, behind the common prefix.
  using entry = model.createCache(1, prefix + padded(longest - prefix));
  await prefill(model, entry, items[0]!.prompt.slice(0, prefix));
  using cache = model.createCache(Math.max(LEAST_ROWS, Math.min(batchSize, items.length)), most);

  const begin = async (lane: Lane) => {
    entry.lengths[0] = prefix;
    const end = lane.item.prompt.slice(prefix);
    const last = { sequence: 0, index: end.length - 1 };
    await appendTokens(model, entry, [end], [last], async (logits) => {
      const [id = 0] = await sample(logits, [lane.draw]);
      lane.push(id);
    });
    return entry;
  };
  const lanes = function* () {
    for (const item of items) yield new Lane(model, item, requests[item.index]!);
  };
  for await (const lane of decodeTogether(model, cache, lanes(), begin, signal)) if (lane.isDone) yield lane.result;
}
