import type { Job } from './job.js';

/** The sequences of one model that are on their way, and their caches. */
export interface Decoding extends Disposable {
  /** Sequences that get a token with each step. */
  readonly running: number;
  /**
   * Begins with a request's prompt, and promises room for its answers. Throws OUT_OF_MEMORY where there is none: there may be
   * once others have ended, if some are on their way.
   */
  begin(job: Job): PromptPass;
  /** Those of these prompts that are computed with the first one, which is of them. */
  together(passes: readonly PromptPass[], most: number): PromptPass[];
  /** Computes parts of prompts that are computed together, `most` tokens in all or what remains. Returns how many it were. */
  advance(passes: readonly PromptPass[], most: number): Promise<number>;
  /** Computes a token more for each sequence. */
  step(): Promise<void>;
  /** Lets go of what has ended, and of what is kept for requests that may come. */
  rest(): void;
}

/** A prompt that is computed part by part; its answers' first tokens come with the last one. */
export interface PromptPass extends Disposable {
  readonly job: Job;
  /** Tokens that are not computed yet. */
  readonly remaining: number;
}
