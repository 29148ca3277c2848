import { z } from 'zod';
import { findAll, pythonRegex } from '../../python/regex.js';
import type { DataFolder, Location } from '../data/data-folder.js';
import { huggingFacePaths } from '../data/data-folder.js';
import { regexFilter } from '../filters.js';
import { textScoring } from '../scoring.js';
import type { Group, Task } from '../task.js';
import { prompted } from '../template.js';

const NAMES = `boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages formal_fallacies
  geometric_shapes hyperbaton logical_deduction_five_objects logical_deduction_seven_objects
  logical_deduction_three_objects movie_recommendation multistep_arithmetic_two navigate object_counting
  penguins_in_a_table reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks
  sports_understanding temporal_sequences tracking_shuffled_objects_five_objects
  tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects web_of_lies word_sorting`.split(
  /\s+/,
);

const SOURCE = 'https://github.com/suzgunmirac/BIG-Bench-Hard';
const STEPS = "Let's think step by step.";
const ANSWER = pythonRegex('(?<=the answer is )(.*)(?=.)');

const Question = z.object({ input: z.string(), target: z.string() });
/** A question; of a set, all know what its prompt file says. */
type Question = z.output<typeof Question> & { prompt: Prompt };

/** What a file of `cot-prompts` holds. */
interface Prompt {
  description: string;
  /** Worked examples: `target` is the chain of thought. */
  examples: z.output<typeof Question>[];
}

/** Reads a prompt file: a canary, a rule, a description, and examples that begin with 'Q: '. */
function parsePrompt(lines: readonly string[]): Prompt {
  const text = lines.join('\n').split('\n-----\n').at(-1)!;
  const [description = '', ...examples] = text.split(/\n+(?=Q: )/);
  return {
    description: `${description}\n\n`,
    examples: examples.map((example) => {
      const [question = '', chain = ''] = example.split(`\nA: ${STEPS}`);
      return { input: question.slice('Q: '.length), target: chain.trim() };
    }),
  };
}

async function readPrompt(data: DataFolder, name: string): Promise<Prompt> {
  const paths = [`bbh/cot-prompts/${name}.txt`];
  return parsePrompt(
    await data.read({ what: `the prompts of BIG-Bench Hard's ${name}`, paths, source: SOURCE }, z.string()),
  );
}

async function readQuestions(data: DataFolder, name: string): Promise<Question[]> {
  const location: Location = {
    what: `the questions of BIG-Bench Hard's ${name}`,
    paths: [`bbh/bbh/${name}.json`, `bbh/${name}.json`, ...huggingFacePaths('bbh', name, 'test')],
    source: `${SOURCE}, or SaylorTwift/bbh on Hugging Face`,
  };
  const prompt = await readPrompt(data, name);
  return (await data.read(location, Question)).map((question) => ({ ...question, prompt }));
}

const common = {
  source: 'Suzgun et al. 2022, suzgunmirac/BIG-Bench-Hard (MIT)',
  kind: 'generate',
  shots: 3,
  draw: 'first',
  preamble: ({ prompt }: Question) => prompt.description,
  answer: ({ target }: Question) => target,
} as const;
const stop = ['</s>', 'Q', '\n\n'];

function chainTask(name: string): Task<Question> {
  return {
    ...common,
    name: `bbh_cot_fewshot_${name}`,
    version: 4,
    follows: "the paper's 3 chains of thought, as lm-eval's bbh_cot_fewshot 4.0; bbh_fewshot has the answers alone",
    generation: { stop, maxTokens: 1024 },
    answerDelimiter: '',
    documents: (data) => readQuestions(data, name),
    async examples(data) {
      const prompt = await readPrompt(data, name);
      return prompt.examples.map((example) => ({ ...example, prompt }));
    },
    ...prompted(`Q: {input}\nA: ${STEPS}\n`, ({ input }) => ({ input })),
    ...textScoring({ answer: common.answer, filters: [regexFilter('get-answer', '(?<=the answer is )(.*)(?=.)')] }),
  };
}

function answerTask(name: string): Task<Question> {
  return {
    ...common,
    name: `bbh_fewshot_${name}`,
    version: 2,
    follows: "lm-eval's bbh_fewshot 2.0",
    generation: { stop },
    documents: (data) => readQuestions(data, name),
    async examples(data) {
      const prompt = await readPrompt(data, name);
      return prompt.examples.map(({ input, target }) => ({
        input,
        target: (findAll(ANSWER, target)[0] as string | undefined) ?? target,
        prompt,
      }));
    },
    ...prompted('Q: {input}\nA:', ({ input }) => ({ input })),
    ...textScoring({ answer: common.answer }),
  };
}

export const tasks: readonly Task[] = [...NAMES.map(chainTask), ...NAMES.map(answerTask)];

export const groups: readonly Group[] = [
  {
    name: 'bbh',
    description: 'BIG-Bench Hard: 27 sets, chains of thought',
    members: NAMES.map((name) => `bbh_cot_fewshot_${name}`),
    weightBySize: true,
  },
  {
    name: 'bbh_fewshot',
    description: 'BIG-Bench Hard: 27 sets, answers without chains of thought',
    members: NAMES.map((name) => `bbh_fewshot_${name}`),
    weightBySize: true,
  },
];
