/** What clients may send: OpenAI's fields, and a few that vLLM and others have beside them. */
import { z } from 'zod';
import { faultOf, flag, integer, text } from '../../base/schema.js';
import { cut } from '../../base/show.js';
import { generateOptions, samplingOptions } from '../../model/decoding/options.js';
import { Fault } from './faults.js';

const MOST_STOPS = 16;
const stop = text();
/** Fields of which only the value that changes nothing is known here. */
const neutral = <Value extends number | string>(value: Value) => z.literal(value).nullish();

const common = {
  /** Where one model is served it may be left out. */
  model: z.string().nullish(),
  temperature: samplingOptions.temperature.unwrap().nullish(),
  top_p: samplingOptions.topP.unwrap().nullish(),
  top_k: samplingOptions.topK.unwrap().nullish(),
  min_p: samplingOptions.minP.unwrap().nullish(),
  repetition_penalty: samplingOptions.repetitionPenalty.unwrap().nullish(),
  seed: generateOptions.seed.unwrap().nullish(),
  n: integer(1, 1024).nullish(),
  stop: z.union([stop, z.array(stop).max(MOST_STOPS)], 'expected a string or a list of strings').nullish(),
  max_tokens: integer(0).nullish(),
  stream: flag().nullish(),
  stream_options: z.strictObject({ include_usage: flag().nullish() }).nullish(),
  /** Experts of a stitched model that take no part. */
  without: z.array(z.string()).nullish(),
  /** Tells with each token of the answer what the stitches gave the members, and with the first one that of the prompt. */
  gates: flag().nullish(),
  frequency_penalty: neutral(0),
  presence_penalty: neutral(0),
  logit_bias: z.strictObject({}).nullish(),
  user: z.string().nullish(),
};

/** Schemas of lists look at each element: that of token ids, which may be many, looks for the first that is none. */
const isIds = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((id) => typeof id === 'number');
type Prompts = string | number[] | (string | number[])[];
const isPrompt = (value: unknown): value is Prompts =>
  typeof value === 'string' ||
  isIds(value) ||
  (Array.isArray(value) && value.every((part) => typeof part === 'string' || isIds(part)));

export const CompletionBody = z.strictObject({
  ...common,
  prompt: z.custom<Prompts>(isPrompt, 'expected a text, token ids, or a list of these'),
  echo: flag().nullish(),
  logprobs: integer(0, 100).nullish(),
  best_of: neutral(1),
  suffix: neutral(''),
});
export type CompletionBody = z.output<typeof CompletionBody>;

const Part = z.object({ type: z.literal('text'), text: z.string() });
const Content = z.union([z.string(), z.array(Part)], 'expected a text, or a list of parts of the type "text"');
export const Messages = z
  .array(z.looseObject({ role: z.string(), content: Content.nullish() }))
  .min(1, 'expected one message at least')
  .transform((messages) =>
    messages.map(({ content, ...message }) => ({
      ...message,
      content: Array.isArray(content) ? content.map(({ text }) => text).join('') : (content ?? null),
    })),
  );

export const textsOf = (messages: z.output<typeof Messages>) => messages.map(({ content }) => content ?? '');

const GIVEN = ['messages', 'add_generation_prompt'];
/** What else a template reads. */
const Variables = z
  .record(z.string(), z.unknown())
  .refine(
    (variables) => !GIVEN.some((name) => Object.hasOwn(variables, name)),
    `expected other names than ${GIVEN.join(' and ')}`,
  );

export const ChatBody = z.strictObject({
  ...common,
  messages: Messages,
  max_completion_tokens: integer(0).nullish(),
  logprobs: flag().nullish(),
  top_logprobs: integer(0, 100).nullish(),
  chat_template_kwargs: Variables.nullish(),
  response_format: z.strictObject({ type: z.literal('text') }).nullish(),
});
export type ChatBody = z.output<typeof ChatBody>;

export const TokenizeBody = z
  .strictObject({
    model: common.model,
    prompt: z.string().optional(),
    messages: Messages.optional(),
    add_special_tokens: flag().nullish(),
  })
  .refine(({ prompt, messages }) => (prompt === undefined) !== (messages === undefined), {
    path: ['prompt'],
    error: 'expected either prompt or messages',
  });
export const DetokenizeBody = z.strictObject({
  model: common.model,
  tokens: z.custom<number[]>(isIds, 'expected an array of token ids'),
});

/** Values in a request, beside those in lists of numbers: schemas take a while for each. */
const MOST_VALUES = 16_384;

/** Whether a request holds more values than that, at any depth. */
function isTooMuch(json: unknown): boolean {
  const open = [json];
  for (let count = 1; open.length > 0; ) {
    const value = open.pop();
    if (typeof value !== 'object' || value === null || isIds(value)) continue;
    const inner = Object.values(value);
    count += inner.length;
    if (count > MOST_VALUES) return true;
    open.push(...inner);
  }
  return false;
}

/** What a request's body says, checked. Throws a Fault that names the field. */
export async function readBody<Schema extends z.ZodType>(request: Request, schema: Schema): Promise<z.output<Schema>> {
  // Pages of other origins can send other types without asking first.
  if (!/^application\/json\b/i.test(request.headers.get('content-type') ?? '')) {
    throw new Fault(415, 'BAD_REQUEST', "expected JSON: send the header 'Content-Type: application/json'.");
  }
  let json: unknown;
  try {
    json = JSON.parse(await request.text());
  } catch (error) {
    throw new Fault(400, 'BAD_REQUEST', `the body is not JSON: ${(error as Error).message}`);
  }
  if (isTooMuch(json)) {
    throw new Fault(413, 'TOO_LARGE', `the request holds more than ${MOST_VALUES} values, token ids not counted.`);
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues as [z.core.$ZodIssue];
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys : [];
  const param = cut([...issue.path, ...unknown.slice(0, 1)].join('.'), 200) || null;
  // Of several kinds the message names all, and faultOf the first.
  const fault = issue.code === 'invalid_union' ? issue.message : faultOf(issue, json);
  const message = unknown.length > 0 ? `there is no field '${param}' here` : `${param ?? 'the body'}: ${fault}`;
  throw new Fault(400, 'BAD_OPTION', `${message}.`, param);
}
