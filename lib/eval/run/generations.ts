import { appendTokens, LEAST_ROWS, padded } from '../../model/append-tokens.js';
import { DecoderModel } from '../../model/decoder-model.js';
import type { KeyValueCache } from '../../model/key-value-cache.js';
import type { LanguageModel } from '../../model/language-model.js';
import { sample } from '../../model/sampler.js';
import type { Generation } from '../task.js';
import { largest } from './extremes.js';
import { Lane } from './lane.js';
import { generateOneByOne } from './one-by-one.js';
import { prefill } from './prefill.js';
import { groupByPrefix } from './prefixes.js';
import { PromptEncoder } from './prompts.js';
import { expectRunning, type RunOptions } from './run-options.js';
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
  const lanes: (Lane | undefined)[] = new Array(Math.max(LEAST_ROWS, Math.min(batchSize, items.length))).fill(
    undefined,
  );
  const longest = largest(items.map(({ prompt }) => prompt.length));
  const most = largest(items.map(({ prompt, maxTokens }) => prompt.length + maxTokens));
  // Prompts are computed one by one, each in the place of the one before it, behind the common prefix.
  using entry = model.createCache(1, prefix + padded(longest - prefix));
  await prefill(model, entry, items[0]!.prompt.slice(0, prefix));
  using cache = model.createCache(lanes.length, most);

  const waiting = [...items].reverse();
  for (;;) {
    for (let lane = 0; lane < lanes.length; lane++) {
      while (lanes[lane] === undefined && waiting.length > 0) {
        expectRunning(signal);
        const item = waiting.pop()!;
        const started = new Lane(model, item, requests[item.index]!);
        entry.lengths[0] = prefix;
        const end = item.prompt.slice(prefix);
        const last = { sequence: 0, index: end.length - 1 };
        await appendTokens(model, entry, [end], [last], async (logits) => {
          const [id = 0] = await sample(logits, [started.draw]);
          started.push(id);
        });
        if (started.isDone) {
          yield started.result;
        } else {
          cache.copySequence(entry, 0, lane);
          lanes[lane] = started;
        }
      }
    }
    if (lanes.every((lane) => lane === undefined)) return;
    expectRunning(signal);
    yield* step(model, cache, lanes);
  }
}

/** One token more for every lane at work. */
async function* step(
  model: DecoderModel,
  cache: KeyValueCache,
  lanes: (Lane | undefined)[],
): AsyncGenerator<GenerationResult> {
  // Idle lanes compute something, too: it is never read.
  for (const [b, lane] of lanes.entries()) if (!lane) cache.lengths[b] = 0;
  const ids = await model.next(
    cache,
    lanes.map((lane) => lane?.next ?? 0),
    lanes.map((lane) => lane?.draw),
  );
  for (const [b, lane] of lanes.entries()) {
    if (!lane) continue;
    lane.push(ids[b]!);
    if (!lane.isDone) continue;
    lanes[b] = undefined;
    yield lane.result;
  }
}
