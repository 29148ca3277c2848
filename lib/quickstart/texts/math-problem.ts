import type { Choices } from './choices.js';

/** A problem with a worked solution. Every `=` between two numeric expressions in `steps` is true. */
export interface Problem {
  question: string;
  steps: string[];
  answer: string;
}

/** Makes problems of one kind. */
export type ProblemKind = (random: Choices) => Problem;
