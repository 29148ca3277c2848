import { z } from 'zod';

/** How many sequences an engine computes, and what of them it keeps. */
export const engineOptions = {
  maxSequences: z.int().min(1).max(1024).default(64).meta({
    description: 'Answers that are computed together, at most; others wait',
  }),
  maxQueue: z.int().min(1).default(1024).meta({
    description: 'Prompts that wait, at most; one more is refused (429)',
  }),
  chunkTokens: z.int().min(8).default(256).meta({
    description: 'Tokens of prompts that are computed between two tokens of those who are being answered',
  }),
  cacheMemory: z.number().positive().optional().meta({
    description:
      'Memory for keys and values, at most; a prompt that does not fit waits (default: a quarter of the memory, on a GPU what there is)',
    argument: 'GiB',
  }),
};

export type EngineOptions = z.input<z.ZodObject<typeof engineOptions>>;
export type EngineSettings = z.output<z.ZodObject<typeof engineOptions>>;
