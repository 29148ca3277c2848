import { z } from 'zod';
import { type DataFolder, huggingFacePaths, type Location } from '../data/data-folder.js';
import { sameNumber } from '../metrics/latex-number.js';
import { boxedAnswer, finalAnswer, isEquivalent, normalizeFinalAnswer } from '../metrics/math-answers.js';
import { fraction } from '../metrics/metrics.js';
import type { Group, Task } from '../task.js';
import { prompted } from '../template.js';
import { MINERVA_EXAMPLES } from './math-examples.js';

/** The part of a set that a task asks: the key of its name, and what the problems say their type is. */
const SUBJECTS: Record<string, string> = {
  algebra: 'Algebra',
  counting_and_prob: 'Counting & Probability',
  geometry: 'Geometry',
  intermediate_algebra: 'Intermediate Algebra',
  num_theory: 'Number Theory',
  prealgebra: 'Prealgebra',
  precalc: 'Precalculus',
};

const Problem = z
  .object({ problem: z.string(), solution: z.string(), type: z.string().optional(), subject: z.string().optional() })
  .transform(({ problem, solution, type, subject }) => ({ problem, solution, subject: type ?? subject }));
type Problem = z.output<typeof Problem>;

/** Documents of one subject, or the 500 of Lightman et al. 2023. */
type Part = { name: string; read: (data: DataFolder, split: string) => Promise<Problem[]> };

function subjectPart(name: string): Part {
  const subject = SUBJECTS[name]!;
  const folder = subject.toLowerCase().replaceAll(' & ', '_and_').replaceAll(' ', '_');
  const location = (split: string): Location => ({
    what: `the ${split} problems of MATH in ${subject}`,
    paths: [
      `math/${split}/${folder}/*.json`,
      ...huggingFacePaths('math', folder, split),
      ...(split === 'test' ? ['math/math_test_5000.jsonl'] : []),
    ],
    source: 'https://github.com/hendrycks/math, or EleutherAI/hendrycks_math on Hugging Face',
  });
  return {
    name,
    read: async (data, split) => (await data.read(location(split), Problem)).filter((doc) => doc.subject === subject),
  };
}

const math500: Part = {
  name: '500',
  read: (data, split) =>
    data.read(
      {
        what: `the ${split} problems of MATH-500`,
        paths: ['math/math500_test.jsonl', ...huggingFacePaths('math500', 'default', 'test')],
        source: 'https://github.com/openai/prm800k, or HuggingFaceH4/MATH-500 on Hugging Face',
      },
      Problem,
    ),
};

const parts = [...Object.keys(SUBJECTS).map(subjectPart), math500];
const taskName = (set: string, part: string) => (part === '500' ? `${set}${part}` : `${set}_${part}`);

const common = {
  source: 'Hendrycks et al. 2021, hendrycks/math (MIT; the problems are from AoPS)',
  kind: 'generate',
  generation: { stop: ['Problem:'] },
  metrics: [fraction('exact_match,none')],
} as const;
const scored = (text: string, answer: string, isRight: boolean) => ({
  items: { 'exact_match,none': Number(isRight) },
  extracted: { none: text, answer },
});

function minervaTask({ name, read }: Part): Task<Problem> {
  const answer = ({ solution }: Problem) => normalizeFinalAnswer(boxedAnswer(solution) ?? '');
  return {
    ...common,
    name: taskName('minerva_math', name),
    version: 3,
    follows:
      "the paper's 4 shots, as lm-eval's minerva_math 3.0; answers are equal if they read the same or have the same number " +
      '(lm-eval asks sympy, which knows more)',
    shots: 4,
    draw: 'first',
    documents: (data) => read(data, 'test'),
    examples: () => Promise.resolve(MINERVA_EXAMPLES.map((example) => ({ ...example, subject: undefined }))),
    ...prompted('Problem:\n{problem}\n\nSolution:', ({ problem }) => ({ problem })),
    answer,
    exampleAnswer: ({ solution }) => solution,
    score(doc, { texts }) {
      const found = normalizeFinalAnswer(finalAnswer(texts![0]!));
      const wanted = answer(doc);
      return scored(texts![0]!, found, isEquivalent(found, wanted) || sameNumber(found, wanted));
    },
  };
}

function hendrycksTask({ name, read }: Part): Task<Problem> {
  return {
    ...common,
    name: taskName('hendrycks_math', name),
    version: 1,
    follows: "lm-eval's hendrycks_math 1.0",
    shots: 0,
    draw: 'random',
    documents: (data) => read(data, 'test'),
    ...(name === '500' ? {} : { examples: (data: DataFolder) => read(data, 'train') }),
    ...prompted('Problem: {problem}\nAnswer:', ({ problem }) => ({ problem })),
    answer: ({ solution }) => boxedAnswer(solution) ?? '',
    score({ solution }, { texts }) {
      const text = texts![0]!;
      const [first, last] = [text.indexOf('$'), text.lastIndexOf('$')];
      const found = first === last ? text : text.slice(first + 1, last);
      return scored(text, found, isEquivalent(found, boxedAnswer(solution)));
    },
  };
}

export const tasks: readonly Task[] = [...parts.map(minervaTask), ...parts.map(hendrycksTask)];

export const groups: readonly Group[] = ['minerva_math', 'hendrycks_math'].map((set) => ({
  name: set,
  description: `MATH: 7 subjects, ${set === 'minerva_math' ? 'with examples of worked solutions' : 'answers alone'}`,
  members: Object.keys(SUBJECTS).map((part) => taskName(set, part)),
  weightBySize: true,
}));
