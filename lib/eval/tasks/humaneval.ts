import { z } from 'zod';
import { codeScoring } from '../code-scoring.js';
import { huggingFacePaths, type Location } from '../data/data-folder.js';
import type { Task } from '../task.js';
import { prompted } from '../template.js';

const Problem = z.object({
  prompt: z.string(),
  test: z.string(),
  entry_point: z.string(),
  canonical_solution: z.string(),
});
type Problem = z.output<typeof Problem>;

const location: Location = {
  what: 'the problems of HumanEval',
  paths: [
    'humaneval/HumanEval.jsonl.gz',
    'humaneval/HumanEval.jsonl',
    ...huggingFacePaths('humaneval', 'openai_humaneval', 'test'),
  ],
  source: 'https://github.com/openai/human-eval, or openai/openai_humaneval on Hugging Face',
};

const answer = ({ test, entry_point }: Problem) => `${test}\ncheck(${entry_point})`;
const base = {
  version: 1,
  source: 'Chen et al. 2021, openai/human-eval (MIT)',
  kind: 'generate',
  shots: 0,
  draw: 'random',
  documents: (data) => data.read(location, Problem),
  ...prompted('{prompt}', ({ prompt }: Problem) => ({ prompt })),
  answer,
} as const satisfies Partial<Task<Problem>>;
const generation = { stop: ['\nclass', '\ndef', '\n#', '\nif', '\nprint'], maxTokens: 1024 };
const scoring = (...ks: number[]) =>
  codeScoring<Problem>({
    key: (k) => `pass@${k},create_test`,
    ks,
    code: ({ prompt }, text) => prompt + text,
    filter: 'create_test',
    tests: answer,
  });

const humaneval: Task<Problem> = {
  ...base,
  name: 'humaneval',
  follows: "the paper's 0 shots, as lm-eval's humaneval 1.0: one sample, the likeliest tokens",
  generation,
  ...scoring(1),
};

const humaneval64: Task<Problem> = {
  ...base,
  name: 'humaneval_64',
  follows: "lm-eval's humaneval_64 1.0: 64 samples at temperature 0.2 and top-p 0.95",
  generation: { ...generation, temperature: 0.2, topP: 0.95, repeats: 64 },
  ...scoring(2, 8, 16, 32, 64),
};

export const tasks: readonly Task[] = [humaneval, humaneval64];
