/**
 * How models are asked that do not remember a text in one cache of keys and values (ensembles and routers of several models):
 * each text in a cache of its own. Slower, and needs nothing but caches that are extended and copied.
 */
import type { LanguageModel } from '../../model/language-model.js';
import type { ChoiceItem, ChoiceResult } from './choices.js';
import { Distribution } from './distribution.js';
import type { GenerationItem, GenerationRequest, GenerationResult } from './generations.js';
import { Lane } from './lane.js';
import { expectRunning, type RunOptions } from './run-options.js';

/** Scores each continuation of each item, token by token, behind a copy of its context. */
export async function* scoreOneByOne(
  model: LanguageModel,
  items: readonly ChoiceItem[],
  results: readonly ChoiceResult[],
  { signal }: RunOptions,
): AsyncGenerator<ChoiceItem> {
  for (const item of items) {
    expectRunning(signal);
    const { context, continuations } = item;
    using before = model.createCache(1, context.length);
    const first = new Distribution(await model.extend(before, context));
    for (const { place, tokens } of continuations) {
      using cache = model.createCache(1, context.length + tokens.length);
      cache.copySequence(before, 0, 0);
      const score = first.score(tokens[0]!);
      for (const [i, token] of tokens.slice(1).entries()) {
        const next = new Distribution(await model.extend(cache, [tokens[i]!])).score(token);
        score.logProbability += next.logProbability;
        score.isGreedy &&= next.isGreedy;
      }
      results[item.index]!.scores[place] = score;
    }
    yield item;
  }
}

/** Continues one prompt after the other. */
export async function* generateOneByOne(
  model: LanguageModel,
  requests: readonly GenerationRequest[],
  items: readonly GenerationItem[],
  { signal }: RunOptions,
): AsyncGenerator<GenerationResult> {
  for (const item of items) {
    const lane = new Lane(model, item, requests[item.index]!);
    using cache = model.createCache(1, item.prompt.length + item.maxTokens);
    for (let inputs: readonly number[] = item.prompt; !lane.isDone; inputs = [lane.next]) {
      expectRunning(signal);
      const [id = 0] = await model.next(cache, inputs, [lane.draw]);
      lane.push(id);
    }
    yield lane.result;
  }
}
