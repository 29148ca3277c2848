import type { Choices } from './choices.js';
import type { Document, Domain } from './documents.js';
import { algebra } from './math-algebra.js';
import { arithmetic } from './math-arithmetic.js';
import { measures } from './math-measures.js';
import { numberTheory } from './math-number-theory.js';
import type { ProblemKind } from './math-problem.js';
import { stories } from './math-stories.js';

export const PROBLEM_KINDS: Readonly<Record<string, ProblemKind>> = {
  ...arithmetic,
  ...numberTheory,
  ...algebra,
  ...stories,
  ...measures,
};

const HEADINGS = ['Problem', 'Problem', 'Exercise', 'Question'];
const SOLUTIONS = ['Solution:', 'Solution:', 'Step by step:', 'Working:'];

/** Math problems with solutions step by step, written by a seeded generator; without end, no question twice. */
export function mathProblems(random: Choices): Domain {
  return {
    documents: problems(random),
    describe: (taken) =>
      `${taken.length} generated problems of ${Object.keys(PROBLEM_KINDS).length} kinds with worked solutions`,
  };
}

function* problems(random: Choices): Generator<Document> {
  const kinds = Object.keys(PROBLEM_KINDS);
  const asked = new Set<string>();
  while (true) {
    const source = random.pick(kinds);
    const { question, steps, answer } = PROBLEM_KINDS[source]!(random);
    if (asked.has(question)) continue;
    asked.add(question);
    const lines = [`${random.pick(HEADINGS)}: ${question}`, random.pick(SOLUTIONS), ...steps, `Answer: ${answer}`];
    yield { text: lines.join('\n'), source };
  }
}
