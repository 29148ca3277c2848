import { z } from 'zod';
import { codeScoring } from '../code-scoring.js';
import { type DataFolder, huggingFacePaths, type Location } from '../data/data-folder.js';
import type { Task } from '../task.js';
import { prompted } from '../template.js';

const Problem = z.object({
  task_id: z.int(),
  text: z.string(),
  code: z.string(),
  test_list: z.array(z.string()).min(3),
  test_setup_code: z.string().nullish(),
});
type Problem = z.output<typeof Problem>;

const location = (split: string): Location => ({
  what: `the ${split} problems of MBPP`,
  paths: ['mbpp/mbpp.jsonl', ...huggingFacePaths('mbpp', 'full', split)],
  source: 'https://github.com/google-research/google-research (mbpp), or google-research-datasets/mbpp on Hugging Face',
});

/** By `task_id`: the problems that are asked, and the examples. */
const TEST = { first: 11, last: 510 };
const EXAMPLES = { first: 2, last: 4 };

async function read(data: DataFolder, split: string, { first, last }: typeof TEST): Promise<Problem[]> {
  const all = await data.read(location(split), Problem);
  return all.filter(({ task_id }) => task_id >= first && task_id <= last);
}

const tests = ({ test_list }: Problem) => test_list.slice(0, 3).join('\n');
const testsWithSetup = (doc: Problem) => `${doc.test_setup_code ?? ''}\n${tests(doc)}`;

const mbpp: Task<Problem> = {
  name: 'mbpp',
  version: 1,
  source: 'Austin et al. 2021, google-research (CC-BY-4.0)',
  follows:
    "the paper's 3 shots, as lm-eval's mbpp 1.0, but for the code that the tests of problem 367 need, which lm-eval leaves out",
  kind: 'generate',
  shots: 3,
  draw: 'first',
  generation: { stop: ['[DONE]'] },
  answerDelimiter: '',
  documents: (data) => read(data, 'test', TEST),
  examples: (data) => read(data, 'prompt', EXAMPLES),
  ...prompted(
    'You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:\n\n{tests}\n[BEGIN]\n',
    (doc) => ({ text: doc.text, tests: tests(doc) }),
  ),
  answer: tests,
  exampleAnswer: ({ code }) => `${code}\n[DONE]`,
  ...codeScoring({
    key: () => 'pass_at_1,none',
    ks: [1],
    code: (_, text) => text,
    filter: 'none',
    tests: testsWithSetup,
  }),
};

export const tasks: readonly Task[] = [mbpp];
