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
  /** Computes a token more for each sequence. */
  step(): Promise<void>;
  /** Lets go of what is kept for requests that may come; nothing is on its way. */
  rest(): void;
}

/** A prompt that is computed part by part; its answers' first tokens come with the last one. */
export interface PromptPass extends Disposable {
  readonly job: Job;
  /** Tokens that are not computed yet. */
  readonly remaining: number;
  /** Computes `most` tokens, or what remains. Returns how many were computed. */
  advance(most: number): Promise<number>;
}
