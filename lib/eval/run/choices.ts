import { DecoderModel } from '../../model/decoder-model.js';
import { appendTokens, eachPlace, type Place, padded } from '../../model/decoding/append-tokens.js';
import type { KeyValueCache } from '../../model/decoding/key-value-cache.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { ContinuationScore } from '../task.js';
import { Distribution } from './distribution.js';
import { largest } from './extremes.js';
import { scoreOneByOne } from './one-by-one.js';
import { prefill } from './prefill.js';
import { groupByPrefix } from './prefixes.js';
import { PromptEncoder } from './prompts.js';
import { badRequest, expectRunning, type RunOptions } from './run-options.js';
import { mapInTurns } from './turns.js';

/** A context and its continuations, each to be scored. */
export interface ChoiceRequest {
  context: string;
  continuations: readonly string[];
}

export interface ChoiceResult {
  /** Which request. */
  index: number;
  scores: ContinuationScore[];
  /** Whether the context was too long and lost its beginning. */
  isCut: boolean;
}

/** Continuations that follow the same tokens. */
export interface ChoiceItem {
  index: number;
  context: number[];
  /** Each of one token at least. */
  continuations: { place: number; tokens: number[] }[];
  isCut: boolean;
}

/**
 * How likely a model finds each continuation of each context. What contexts have in common is computed once, and so is the
 * context of several continuations. Results come as they are computed, and do not depend on the batch size.
 *
 * Throws BAD_DATA for a continuation longer than the model takes, or without a token of its own; BAD_TOKENIZER, ABORTED.
 */
export async function* scoreChoices(
  model: LanguageModel,
  requests: readonly ChoiceRequest[],
  options: RunOptions,
): AsyncGenerator<ChoiceResult> {
  const encoder = new PromptEncoder(model.tokenizer);
  const encode = (request: ChoiceRequest, index: number) =>
    toItems(encoder, request, index, model.config.maxPositions, options);
  const items = (await mapInTurns(requests, encode, options.signal)).flat();
  const results = requests.map(
    (request, index): ChoiceResult => ({
      index,
      scores: new Array<ContinuationScore>(request.continuations.length),
      isCut: false,
    }),
  );
  const open = requests.map(() => 0);
  for (const { index } of items) open[index]!++;

  const scored =
    model instanceof DecoderModel
      ? scoreTogether(model, items, results, options)
      : scoreOneByOne(model, items, results, options);
  for await (const item of scored) {
    results[item.index]!.isCut ||= item.isCut;
    if (--open[item.index]! === 0) yield results[item.index]!;
  }
}

async function* scoreTogether(
  model: DecoderModel,
  items: readonly ChoiceItem[],
  results: readonly ChoiceResult[],
  options: RunOptions,
): AsyncGenerator<ChoiceItem> {
  const contexts = items.map(({ context }) => context);
  const groups = options.sharePrefixes ? groupByPrefix(contexts) : [{ prefix: 0, members: byLength(contexts) }];
  for (const { prefix, members } of groups) {
    const group = members.map((member) => items[member]!);
    yield* scoreGroup(model, group, prefix, results, options);
  }
}

/** Usually one item; a context that must lose its beginning loses less before a shorter continuation. */
function toItems(
  encoder: PromptEncoder,
  request: ChoiceRequest,
  index: number,
  maxPositions: number,
  options: RunOptions,
): ChoiceItem[] {
  const { context, continuations } = encoder.encodeChoices(request.context, request.continuations);
  const entries = continuations.map((tokens, place) => ({ place, tokens }));
  const nothing = entries.find(({ tokens }) => tokens.length === 0);
  if (nothing) throw badRequest(index, options, mergedReason(request, nothing.place));
  const longest = largest(entries.map(({ tokens }) => tokens.length));
  if (longest >= maxPositions) {
    const reason = `a continuation of ${longest} tokens came; the model takes ${maxPositions} positions.`;
    throw badRequest(index, options, reason);
  }
  // The last token of a continuation is never an input.
  const room = (tokens: number) => maxPositions + 1 - tokens;
  if (context.length <= room(longest)) return [{ index, context, continuations: entries, isCut: false }];
  return entries.map((entry) => {
    const kept = context.slice(-room(entry.tokens.length));
    return { index, context: kept, continuations: [entry], isCut: kept.length < context.length };
  });
}

const SHOWN = 40;

/** Why a continuation has no tokens. Scored as nothing it would be certain. */
function mergedReason({ context, continuations }: ChoiceRequest, place: number): string {
  const choice = `choice ${place}, ${JSON.stringify(continuations[place])},`;
  if (continuations[place] === '') return `${choice} is empty: there is nothing to score.`;
  const end = context.length > SHOWN ? `…${context.slice(-SHOWN)}` : context;
  return (
    `${choice} has no token of its own behind its context ${JSON.stringify(end)}: the tokenizer merges the two. ` +
    'Let the context end with a word, and the choice or the delimiter before it begin with a blank.'
  );
}

function byLength(sequences: readonly (readonly number[])[]): number[] {
  return [...sequences.keys()].sort((a, b) => sequences[b]!.length - sequences[a]!.length || a - b);
}

async function* scoreGroup(
  model: DecoderModel,
  items: readonly ChoiceItem[],
  prefix: number,
  results: readonly ChoiceResult[],
  { batchSize, signal }: RunOptions,
): AsyncGenerator<ChoiceItem> {
  // As many in each batch, so that the last does not compute empty rows.
  const batch = Math.ceil(items.length / Math.ceil(items.length / batchSize));
  const longest = largest(items.map(({ context }) => context.length));
  const longestEnd = largest(items.flatMap(({ continuations }) => continuations.map(({ tokens }) => tokens.length)));
  const capacity = prefix + padded(longest - prefix) + padded(longestEnd);
  using cache = model.createCache(batch, capacity);
  await prefill(model, cache, items[0]!.context.slice(0, prefix));
  for (let first = 0; first < items.length; first += batch) {
    expectRunning(signal);
    const now = items.slice(first, first + batch);
    cache.lengths.fill(prefix);
    await scoreBatch(model, cache, now, prefix, results);
    yield* now;
  }
}

async function scoreBatch(
  model: DecoderModel,
  cache: KeyValueCache,
  items: readonly ChoiceItem[],
  prefix: number,
  results: readonly ChoiceResult[],
): Promise<void> {
  const ends = items.map(({ context }) => context.slice(prefix));
  const lasts = ends.map((tokens, sequence) => ({ sequence, index: tokens.length - 1 }));
  await appendTokens(
    model,
    cache,
    ends,
    lasts,
    eachPlace((logits, i) => {
      const distribution = new Distribution(logits);
      for (const { place, tokens } of items[i]!.continuations) {
        results[items[i]!.index]!.scores[place] = distribution.score(tokens[0]!);
      }
    }),
  );

  const lengths = [...cache.lengths];
  const rounds = largest(items.map(({ continuations }) => continuations.length));
  for (let round = 0; round < rounds; round++) {
    const rest = items.map(({ continuations }) => continuations[round]?.tokens ?? []);
    const inputs = rest.map((tokens) => tokens.slice(0, -1));
    const places: Place[] = inputs.flatMap((tokens, sequence) => tokens.map((_, index) => ({ sequence, index })));
    if (places.length === 0) continue;
    await appendTokens(
      model,
      cache,
      inputs,
      places,
      eachPlace((logits, i) => {
        const { sequence, index } = places[i]!;
        const { index: request, continuations } = items[sequence]!;
        const next = new Distribution(logits).score(rest[sequence]![index + 1]!);
        const { scores } = results[request]!;
        const { place } = continuations[round]!;
        const before = scores[place]!;
        scores[place] = {
          logProbability: before.logProbability + next.logProbability,
          isGreedy: before.isGreedy && next.isGreedy,
        };
      }),
    );
    cache.lengths.splice(0, lengths.length, ...lengths);
  }
}
