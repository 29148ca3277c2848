/** How tokens are chosen, and how many. */
import { z } from 'zod';
import type { Abortable } from '../../base/errors.js';
import { checkOptions, type OptionNames, parseOptions } from '../../base/options-check.js';
import { fraction, integer, nonNegative, positive, seed, text } from '../../base/schema.js';
import { batchSize } from '../../data/batch-options.js';
import type { ChatOptions } from '../../data/tokenizer/chat-template.js';
import type { GateRecordOptions } from '../stitches/gate-log.js';

export const samplingOptions = {
  /** 0 takes the likeliest token; default 1. */
  temperature: nonNegative().default(1).meta({ description: '0 always takes the likeliest token' }),
  /** Only the k likeliest tokens; default 0: all. */
  topK: integer(0).default(0).meta({ description: 'Only the k likeliest tokens; 0: all' }),
  /** Only the likeliest tokens that together reach this probability; default 1: all. */
  topP: positive(1).default(1).meta({
    description: 'Only the likeliest tokens that together reach this probability; 1: all',
  }),
  /** Only tokens at least this fraction as likely as the likeliest; default 0: all. */
  minP: fraction().default(0).meta({
    description: 'Only tokens at least this fraction as likely as the likeliest; 0: all',
  }),
  /** Divides (multiplies, below zero) the logits of tokens seen before, prompt included; default 1: off. */
  repetitionPenalty: positive().default(1).meta({
    description: 'Makes tokens that were there before less likely; 1: off',
  }),
};
/** How tokens are drawn; on the command line `--temperature`, `--top-k` and so on. */
export type SamplingOptions = z.input<z.ZodObject<typeof samplingOptions>>;
export type Sampling = z.output<z.ZodObject<typeof samplingOptions>>;

/** Fills in defaults. Throws BAD_OPTION for a value out of range. */
export const checkSampling = (options: SamplingOptions): Sampling => parseOptions(samplingOptions, options);

/** Of the text that is generated. */
export const textOptions = {
  /** Default 256; fewer where the model's positions run out. */
  maxTokens: integer(0).default(256).meta({ description: 'Tokens to generate, at most' }),
  /** The same seed gives the same text; default 0. */
  seed: seed().meta({ description: 'The same seed gives the same text' }),
  /** Generation ends before any of these strings appears. */
  stop: z
    .array(text('a stop string with something in it'), 'expected a list of strings')
    .readonly()
    .default([])
    .meta({ description: 'Ends the text where this would appear. Repeatable' }),
  /** Tells each token's log-probability, and the so many likeliest ones in its place; 0: its own alone. */
  logprobs: integer(0).optional().meta({
    description: "With --json: each token's log-probability, and those of the so many likeliest in its place",
    argument: 'n',
  }),
  /** How many of several prompts are computed together, at most; default 8. */
  batchSize: batchSize(),
};

export const generateOptions = { ...samplingOptions, ...textOptions };

export interface GenerateOptions extends SamplingOptions, z.input<z.ZodObject<typeof textOptions>>, Abortable {
  /** Generation ends at any of these tokens; default: the checkpoint's end-of-text tokens. */
  stopTokens?: readonly number[];
  /** Tells how the stitches weighed the members where each token was chosen; only stitched models can. */
  gates?: boolean | GateRecordOptions | undefined;
  /** Of a conversation: what its template is told besides the messages. The answer is begun, unless it says otherwise. */
  chat?: ChatOptions;
}

const OTHERS: OptionNames<Omit<GenerateOptions, keyof typeof generateOptions>> = {
  stopTokens: true,
  gates: true,
  chat: true,
  signal: true,
};

/** Fills in defaults. Throws BAD_OPTION, also for more log-probabilities than the model's vocabulary has. */
export function checkGenerateOptions(options: GenerateOptions, vocabularySize: number) {
  const ofModel = { ...generateOptions, logprobs: integer(0, vocabularySize).optional() };
  return checkOptions('generate', ofModel, options, OTHERS);
}
