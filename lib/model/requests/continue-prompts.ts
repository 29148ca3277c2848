import { throwIfAborted } from '../../base/errors.js';
import { largest } from '../../base/extremes.js';
import { DecoderModel } from '../decoder-model.js';
import { appendTokens } from '../decoding/append-tokens.js';
import { advance, decodeTogether, type Lane } from '../decoding/decode-together.js';
import { padded } from '../decoding/padding.js';
import { sample } from '../decoding/sampler.js';
import type { LanguageModel } from '../language-model.js';
import { prefill } from './prefill.js';
import { groupByPrefix } from './prefixes.js';
import type { RequestOptions } from './request.js';

/** A sequence that is to go on behind its prompt. */
export interface PromptLane extends Lane {
  /** One token at least. */
  readonly prompt: readonly number[];
  /** Tokens that its cache holds, at most. */
  readonly capacity: number;
}

/**
 * Continues each prompt until its lane is done. What prompts have in common is computed once; a sequence that has ended makes
 * room for the next. A lane comes whenever it was given a token, and what is in it does not depend on the batch size.
 *
 * No lane may hold more than the model has positions. Throws LOSS_NOT_FINITE, BAD_TOKEN, ABORTED.
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
    using cache = model.createCache(1, lane.capacity);
    let inputs = lane.prompt;
    do {
      throwIfAborted(signal, 'generating');
      await advance(model, cache, inputs, [lane]);
      inputs = [lane.next];
      yield lane;
    } while (!lane.isDone);
  }
}

async function* continueGroup<Sequence extends PromptLane>(
  model: DecoderModel,
  lanes: readonly Sequence[],
  prefix: number,
  { batchSize, signal }: RequestOptions,
): AsyncGenerator<Sequence> {
  const longest = largest(lanes.map(({ prompt }) => prompt.length));
  const most = largest(lanes.map(({ capacity }) => capacity));
  // Prompts are computed one by one, each in the place of the one before it, behind the common prefix.
  using entry = model.createCache(1, prefix + padded(model.device, longest - prefix));
  await prefill(model, entry, lanes[0]!.prompt.slice(0, prefix));
  using cache = model.createCache(Math.max(model.device.leastLanes, Math.min(batchSize, lanes.length)), most);

  const begin = async (lane: Sequence) => {
    entry.lengths[0] = prefix;
    const end = lane.prompt.slice(prefix);
    const last = { sequence: 0, index: end.length - 1 };
    await appendTokens(model, entry, [end], [last], async (logits) => {
      const [id = 0] = await sample(logits, [lane.draw]);
      lane.push(id, lane.needsLogits ? await logits.read() : undefined);
    });
    return entry;
  };
  yield* decodeTogether(model, cache, lanes, begin, signal);
}
