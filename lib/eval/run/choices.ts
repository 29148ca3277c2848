import { largest } from '../../base/extremes.js';
import { mapInTurns } from '../../base/turns.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { ContinuationRequest, ContinuationScore } from '../../model/requests/request.js';
import { scoreContinuations } from '../../model/requests/score-continuations.js';
import { PromptEncoder } from './prompts.js';
import { badRequest, type RunOptions } from './run-options.js';

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
interface ChoiceItem extends ContinuationRequest {
  index: number;
  /** Which of the request's each continuation is. */
  places: readonly number[];
  isCut: boolean;
}

/**
 * How likely a model finds each continuation of each context, see `scoreContinuations`.
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

  for await (const { request: item, scores } of scoreContinuations(model, items, options)) {
    const result = results[item.index]!;
    for (const [i, place] of item.places.entries()) result.scores[place] = scores[i]!;
    result.isCut ||= item.isCut;
    if (--open[item.index]! === 0) yield result;
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
  const nothing = continuations.findIndex((tokens) => tokens.length === 0);
  if (nothing >= 0) throw badRequest(index, options, mergedReason(request, nothing));
  const longest = largest(continuations.map((tokens) => tokens.length));
  if (longest >= maxPositions) {
    const reason = `a continuation of ${longest} tokens came; the model takes ${maxPositions} positions.`;
    throw badRequest(index, options, reason);
  }
  // The last token of a continuation is never an input.
  const room = (tokens: number) => maxPositions + 1 - tokens;
  if (context.length <= room(longest)) {
    return [{ index, context, continuations, places: [...continuations.keys()], isCut: false }];
  }
  return continuations.map((tokens, place) => {
    const kept = context.slice(-room(tokens.length));
    return { index, context: kept, continuations: [tokens], places: [place], isCut: kept.length < context.length };
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
