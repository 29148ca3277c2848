import { throwIfAborted } from '../../base/errors.js';
import { largest } from '../../base/extremes.js';
import { DecoderModel } from '../decoder-model.js';
import { appendTokens, eachPlace, type Place } from '../decoding/append-tokens.js';
import type { KeyValueCache } from '../decoding/key-value-cache.js';
import { padded } from '../decoding/padding.js';
import type { LanguageModel } from '../language-model.js';
import { Distribution } from './distribution.js';
import { prefill } from './prefill.js';
import { groupByPrefix } from './prefixes.js';
import type { ContinuationRequest, RequestOptions, Scored } from './request.js';
import { scoreOneByOne } from './score-one-by-one.js';

/**
 * How likely a model finds each continuation of each context. What contexts have in common is computed once, and so is the
 * context of several continuations. Results come as they are computed, and do not depend on the batch size.
 *
 * The model must have a position for every token but the last of a continuation. Throws LOSS_NOT_FINITE, BAD_TOKEN, ABORTED.
 */
export async function* scoreContinuations<Request extends ContinuationRequest>(
  model: LanguageModel,
  requests: readonly Request[],
  options: RequestOptions,
): AsyncGenerator<Scored<Request>> {
  if (!(model instanceof DecoderModel)) {
    yield* scoreOneByOne(model, requests, options);
    return;
  }
  const contexts = requests.map(({ context }) => context);
  const groups = options.sharePrefixes ? groupByPrefix(contexts) : [{ prefix: 0, members: byLength(contexts) }];
  for (const { prefix, members } of groups) {
    const group = members.map((member) => requests[member]!);
    yield* scoreGroup(model, group, prefix, options);
  }
}

function byLength(sequences: readonly (readonly number[])[]): number[] {
  return [...sequences.keys()].sort((a, b) => sequences[b]!.length - sequences[a]!.length || a - b);
}

async function* scoreGroup<Request extends ContinuationRequest>(
  model: DecoderModel,
  requests: readonly Request[],
  prefix: number,
  { batchSize, signal, gates }: RequestOptions,
): AsyncGenerator<Scored<Request>> {
  // As many in each batch, so that the last does not compute empty rows.
  const batch = Math.ceil(requests.length / Math.ceil(requests.length / batchSize));
  const longest = largest(requests.map(({ context }) => context.length));
  const longestEnd = largest(requests.flatMap(({ continuations }) => continuations.map((tokens) => tokens.length)));
  const capacity = prefix + padded(model.device, longest - prefix) + padded(model.device, longestEnd);
  using cache = model.createCache(batch, capacity, { gates });
  await prefill(model, cache, requests[0]!.context.slice(0, prefix));
  for (let first = 0; first < requests.length; first += batch) {
    throwIfAborted(signal, 'scoring');
    cache.lengths.fill(prefix);
    yield* await scoreBatch(model, cache, requests.slice(first, first + batch), prefix);
  }
}

async function scoreBatch<Request extends ContinuationRequest>(
  model: DecoderModel,
  cache: KeyValueCache,
  requests: readonly Request[],
  prefix: number,
): Promise<Scored<Request>[]> {
  const results = requests.map((request): Scored<Request> => ({ request, scores: [] }));
  const ends = requests.map(({ context }) => context.slice(prefix));
  const lasts = ends.map((tokens, sequence) => ({ sequence, index: tokens.length - 1 }));
  const rows = await appendTokens(
    model,
    cache,
    ends,
    lasts,
    eachPlace((logits, i) => {
      const distribution = new Distribution(logits);
      for (const tokens of requests[i]!.continuations) results[i]!.scores.push(distribution.score(tokens[0]!));
    }),
  );
  const atEnds = await cache.gates?.latest;
  for (const [i, { scores }] of atEnds ? results.entries() : []) {
    for (const score of scores) score.gates = [atEnds![i * rows + lasts[i]!.index]!];
  }

  const lengths = [...cache.lengths];
  const rounds = largest(requests.map(({ continuations }) => continuations.length));
  for (let round = 0; round < rounds; round++) {
    const rest = requests.map(({ continuations }) => continuations[round] ?? []);
    const inputs = rest.map((tokens) => tokens.slice(0, -1));
    const places: Place[] = inputs.flatMap((tokens, sequence) => tokens.map((_, index) => ({ sequence, index })));
    if (places.length === 0) continue;
    const rows = await appendTokens(
      model,
      cache,
      inputs,
      places,
      eachPlace((logits, i) => {
        const { sequence, index } = places[i]!;
        const next = new Distribution(logits).score(rest[sequence]![index + 1]!);
        const score = results[sequence]!.scores[round]!;
        score.logProbability += next.logProbability;
        score.isGreedy &&= next.isGreedy;
      }),
    );
    const gates = await cache.gates?.latest;
    for (const { sequence, index } of gates ? places : []) {
      results[sequence]!.scores[round]!.gates!.push(gates![sequence * rows + index]!);
    }
    cache.lengths.splice(0, lengths.length, ...lengths);
  }
  return results;
}
