import { throwIfAborted } from '../../base/errors.js';
import { largest } from '../../base/extremes.js';
import { DecoderModel } from '../decoder-model.js';
import { appendTokens } from '../decoding/append-tokens.js';
import { decodeTogether, type Lane } from '../decoding/decode-together.js';
import { LEAST_ROWS, padded } from '../decoding/padding.js';
import { sample } from '../decoding/sampler.js';
import type { LanguageModel } from '../language-model.js';
import { prefill } from './prefill.js';
import { groupByPrefix } from './prefixes.js';
import type { RequestOptions } from './request.js';

/** A sequence that is to go on behind its prompt. */
export interface PromptLane extends Lane {
  /** One token at least. */
  readonly prompt: readonly number[];
  /** Tokens that are generated, at most. */
  readonly maxTokens: number;
}

/**
 * Continues each prompt until its lane is done. What prompts have in common is computed once; a sequence that has ended makes
 * room for the next. Lanes come as they end, and what is in them does not depend on the batch size.
 *
 * Prompt and tokens must fit the model's positions. Throws LOSS_NOT_FINITE, BAD_TOKEN, ABORTED.
 */
export async function* continuePrompts<Sequence extends PromptLane>(
  model: LanguageModel,
  lanes: readonly Sequence[],
  options: RequestOptions,
): AsyncGenerator<Sequence> {
  if (!(model instanceof DecoderModel)) {
    yield* continueOneByOne(model, lanes, options.signal);
    return;
  }
  const prompts = lanes.map(({ prompt }) => prompt);
  const groups = options.sharePrefixes ? groupByPrefix(prompts) : [{ prefix: 0, members: [...lanes.keys()] }];
  for (const { prefix, members } of groups) {
    const group = members.map((member) => lanes[member]!);
    yield* continueGroup(model, group, prefix, options);
  }
}

async function* continueOneByOne<Sequence extends PromptLane>(
  model: LanguageModel,
  lanes: readonly Sequence[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Sequence> {
  for (const lane of lanes) {
    using cache = model.createCache(1, lane.prompt.length + lane.maxTokens);
    for (let inputs = lane.prompt; !lane.isDone; inputs = [lane.next]) {
      throwIfAborted(signal, 'generating');
      const [id = 0] = await model.next(cache, inputs, [lane.draw]);
      lane.push(id);
    }
    yield lane;
  }
}

async function* continueGroup<Sequence extends PromptLane>(
  model: DecoderModel,
  lanes: readonly Sequence[],
  prefix: number,
  { batchSize, signal }: RequestOptions,
): AsyncGenerator<Sequence> {
  const longest = largest(lanes.map(({ prompt }) => prompt.length));
  const most = largest(lanes.map(({ prompt, maxTokens }) => prompt.length + maxTokens));
  // Prompts are computed one by one, each in the place of the one before it, behind the common prefix.
  using entry = model.createCache(1, prefix + padded(longest - prefix));
  await prefill(model, entry, lanes[0]!.prompt.slice(0, prefix));
  using cache = model.createCache(Math.max(LEAST_ROWS, Math.min(batchSize, lanes.length)), most);

  const begin = async (lane: Sequence) => {
    entry.lengths[0] = prefix;
    const end = lane.prompt.slice(prefix);
    const last = { sequence: 0, index: end.length - 1 };
    await appendTokens(model, entry, [end], [last], async (logits) => {
      const [id = 0] = await sample(logits, [lane.draw]);
      lane.push(id);
    });
    return entry;
  };
  for await (const lane of decodeTogether(model, cache, lanes, begin, signal)) if (lane.isDone) yield lane;
}
