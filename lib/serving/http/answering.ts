/** From what clients send to requests of the engine, and back to the events of all of them. */
import { randomInt } from 'node:crypto';
import { parseOptions } from '../../base/options-check.js';
import { hash32 } from '../../base/random.js';
import { samplingOptions } from '../../model/decoding/options.js';
import type { AnswerEvent, AnswerRequest } from '../job.js';
import { Pipe } from '../pipe.js';
import { Fault } from './faults.js';
import type { ChatBody, CompletionBody } from './requests.js';
import type { ServedModel } from './served-model.js';

/** Who asks, and how long it may take. */
export interface Asker {
  /** Clients take turns. */
  client: string;
  /** Fires when the client has left, or the time is over. */
  signal: AbortSignal;
  /** Tokens that an answer may have, at most. */
  maxTokens: number | undefined;
}

export interface Question {
  prompt: readonly number[];
  /** Tokens of an answer where the client does not say. */
  defaultTokens: number;
  logprobs: number | undefined;
  promptLogprobs?: number | undefined;
}

/** More characters than any token has: what is longer does not fit, whatever its tokens. */
const MOST_CHARACTERS = 256;

/** Throws a Fault for texts that cannot fit the model, before time is spent on their tokens. */
export function expectFits({ model }: ServedModel, texts: readonly string[], param: string): void {
  const { maxPositions } = model.config;
  const characters = texts.reduce((sum, { length }) => sum + length, 0);
  if (characters <= maxPositions * MOST_CHARACTERS) return;
  throw new Fault(
    400,
    'BAD_OPTION',
    `${param}: there are ${characters} characters, which do not fit the ${maxPositions} tokens that the model takes.`,
    param,
  );
}

/** Throws a Fault for more tokens than the server allows. */
export function toRequest(
  { model }: ServedModel,
  body: CompletionBody | ChatBody,
  question: Question,
  { client, signal, maxTokens: most = Number.MAX_SAFE_INTEGER }: Asker,
): AnswerRequest {
  const asked = ('max_completion_tokens' in body ? body.max_completion_tokens : undefined) ?? body.max_tokens;
  if (asked != null && asked > most) {
    throw new Fault(400, 'BAD_OPTION', `max_tokens: ${asked} were asked for, ${most} are allowed.`, 'max_tokens');
  }
  const maxTokens = asked ?? Math.min(most, question.defaultTokens);
  const seed = body.seed ?? randomInt(2 ** 32);
  const answers = maxTokens === 0 ? 0 : (body.n ?? 1);
  return {
    ...question,
    isText: true,
    sampling: parseOptions(samplingOptions, {
      temperature: body.temperature ?? undefined,
      topP: body.top_p ?? undefined,
      topK: body.top_k ?? undefined,
      minP: body.min_p ?? undefined,
      repetitionPenalty: body.repetition_penalty ?? undefined,
    }),
    maxTokens,
    stop: typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []),
    stopTokens: new Set(model.stopTokens),
    seeds: Array.from({ length: answers }, (_, i) => (i === 0 ? seed : hash32(seed, i))),
    without: body.without ?? [],
    gates: body.gates ?? false,
    client,
    signal,
  };
}

/** The events of several requests as they come, each with the number of its request. */
export function merged(requests: readonly AsyncGenerator<AnswerEvent, void>[]): AsyncGenerator<[number, AnswerEvent]> {
  const pipe = new Pipe<[number, AnswerEvent]>();
  const read = async (events: AsyncGenerator<AnswerEvent, void>, index: number) => {
    for await (const event of events) pipe.push([index, event]);
  };
  Promise.all(requests.map(read)).then(
    () => pipe.end(),
    (error) => pipe.end(error),
  );
  return pipe.read();
}

/** As OpenAI says it: its `length` is also that the model has no positions left. */
export const finishReason = (finish: 'stop' | 'length' | 'context') => (finish === 'stop' ? 'stop' : 'length');
