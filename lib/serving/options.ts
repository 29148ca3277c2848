import type { z } from 'zod';
import { count, integer, positive } from '../base/schema.js';

/** How many sequences an engine computes, and what of them it keeps. */
export const engineOptions = {
  /** Answers that are computed together, at most; default 64. */
  maxSequences: integer(1, 1024).default(64).meta({
    description: 'Answers that are computed together, at most; others wait',
  }),
  /** Prompts that wait, at most; default 1024. */
  maxQueue: count().default(1024).meta({
    description: 'Prompts that wait, at most; one more is refused (429)',
  }),
  /** Tokens of prompts that are computed between two steps of decoding; default 256. */
  chunkTokens: integer(8).default(256).meta({
    description: 'Tokens of prompts that are computed between two tokens of those who are being answered',
  }),
  /** GiB for keys and values, at most; default: a quarter of the memory, but 8 GiB at most. */
  cacheMemory: positive().optional().meta({
    description:
      'Memory for keys and values of a model, at most; a prompt that does not fit waits (default: a quarter of the memory, but 8 GiB at most)',
    argument: 'GiB',
  }),
};

/** How requests are computed together. */
export type EngineOptions = z.input<z.ZodObject<typeof engineOptions>>;
export type EngineSettings = z.output<z.ZodObject<typeof engineOptions>>;
